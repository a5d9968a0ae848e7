"""MurmurHash64A as Redis uses it for HyperLogLogs: of one element, or of many at once.

Many elements are hashed side by side in one large integer, 128 bits for each: a product of two
numbers of 64 bits stays in its lane. That costs a quarter of hashing one after the other.
"""

from collections.abc import Sequence
from struct import iter_unpack, unpack
from typing import Final

_MASK: Final = 2**64 - 1
_MULTIPLIER: Final = 0xC6A4A7935BD1E995
_SEED: Final = 0xADC83B19
_SHORT_ELEMENT_BYTES: Final = 64  # one number for all is faster than one for each word
_LANE_BYTES: Final = 16
_LANES_MIN: Final = 4


def murmur_hash(element: bytes) -> int:
    """MurmurHash64A with the seed of Redis."""
    size = len(element)
    state = _SEED ^ size * _MULTIPLIER
    if size > _SHORT_ELEMENT_BYTES:
        for (word,) in iter_unpack("<Q", element[: size & ~7]):
            word = (word * _MULTIPLIER) & _MASK
            state = (state ^ (word ^ word >> 47) * _MULTIPLIER) * _MULTIPLIER & _MASK
        element = element[size & ~7 :]
        size &= 7
    number = int.from_bytes(element, "little")
    while size >= 8:
        word = (number & _MASK) * _MULTIPLIER & _MASK
        number >>= 64
        state = (state ^ (word ^ word >> 47) * _MULTIPLIER) * _MULTIPLIER & _MASK
        size -= 8
    if size:
        state = (state ^ number) * _MULTIPLIER
    state &= _MASK
    state = (state ^ state >> 47) * _MULTIPLIER & _MASK
    return state ^ state >> 47


def murmur_hashes(elements: Sequence[bytes]) -> Sequence[int]:
    """The hash of each element, in order."""
    if len(elements) < _LANES_MIN:
        return list(map(murmur_hash, elements))
    sizes = set(map(len, elements))
    if len(sizes) == 1:
        return _hash_lanes(elements, sizes.pop())
    hashes = [0] * len(elements)
    for size in sizes:
        places = [place for place, element in enumerate(elements) if len(element) == size]
        group = [elements[place] for place in places]
        found = (
            list(map(murmur_hash, group)) if len(group) < _LANES_MIN else _hash_lanes(group, size)
        )
        for place, value in zip(places, found, strict=True):
            hashes[place] = value
    return hashes


def _hash_lanes(elements: Sequence[bytes], size: int) -> Sequence[int]:
    """The hashes of elements of one size."""
    count = len(elements)
    ones = int.from_bytes((b"\1" + bytes(_LANE_BYTES - 1)) * count, "little")
    mask = ones * _MASK
    state = (_SEED ^ size * _MULTIPLIER & _MASK) * ones
    rest = size
    for start in range(0, size, _LANE_BYTES):
        pieces = elements
        if size != _LANE_BYTES:
            cut = (element[start : start + _LANE_BYTES] for element in elements)
            pieces = [piece.ljust(_LANE_BYTES, b"\0") for piece in cut]
        pair = int.from_bytes(b"".join(pieces), "little")
        for word in (pair & mask, pair >> 64 & mask)[: (rest + 7) // 8]:
            if rest >= 8:
                word = word * _MULTIPLIER & mask
                word = ((word ^ word >> 47) & mask) * _MULTIPLIER
            state = ((state ^ word) & mask) * _MULTIPLIER & mask
            rest -= 8
    state = ((state ^ state >> 47) & mask) * _MULTIPLIER & mask
    state ^= state >> 47 & mask
    return unpack(f"<{2 * count}Q", state.to_bytes(_LANE_BYTES * count, "little"))[::2]
