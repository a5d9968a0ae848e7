"""HyperLogLog: how many different elements there were, from 16384 registers inside a string.

    [ HYLL | encoding 1 | unused 3 | cached cardinality 8, top bit: not valid | registers ]

    dense    6 bits a register, the first in the lowest bits: 12304 bytes in all
    sparse   runs: 00nnnnnn n+1 zeros; 01nnnnnn nnnnnnnn n+1 zeros; 1vvvvvnn n+1 registers of v+1

Bytes, hash and estimate are those of Redis, so that a string moves between the two, and the same
elements make the same bytes. Functions over strings; they know no key and no reply. They change a
bytearray in place and never more than they must. A string whose runs do not add up to all registers
is refused with InvalidObjectError when it is read or changed where that shows.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from math import inf, sqrt
from typing import Final, TypeAlias

from hotplate.errors import InvalidObjectError
from hotplate.keyspace.entry import INTEGER_MAX
from hotplate.keyspace.murmur import murmur_hashes

Sketch: TypeAlias = bytes | bytearray

REGISTERS: Final = 16384
HEADER_BYTES: Final = 16
DENSE_BYTES: Final = HEADER_BYTES + REGISTERS * 6 // 8
_INDEX_BITS: Final = 14
_HASH_BITS: Final = 64 - _INDEX_BITS
_LAST_BYTE: Final = DENSE_BYTES - 1
_MAGIC: Final = b"HYLL"
_DENSE: Final = 0
_SPARSE: Final = 1
_ENCODING_AT: Final = 4
_CACHE_AT: Final = 8
_CACHE_END: Final = 16
_STALE: Final = 0x80
_ALPHA: Final = 0.721347520444481703680
_TOTAL_MIN: Final = REGISTERS**2 / 2**63  # below, the estimate is no number of 64 bits

_NONZERO: Final = re.compile(rb"[^\0]")
_ONE_EACH: Final = tuple(bytes((value,)) for value in range(64))

_VALUE_MAX: Final = 32  # what a sparse run can say
_RUN_MAX: Final = 4
_SHORT_ZEROS_MAX: Final = 64
_LONG_ZEROS: Final = re.compile(rb"[\x40-\x7f]")
_CHUNK_BYTES: Final = 64
# how many registers a run of one byte covers; long zeros take two bytes
_SPANS: Final = bytes((byte & 3) + 1 if byte & 0x80 else (byte & 0x3F) + 1 for byte in range(256))
_MERGE_STEPS: Final = 5

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_DIGITS: Final = bytes.maketrans(bytes(range(64)), _ALPHABET)
_VALUES: Final = bytes.maketrans(_ALPHABET, bytes(range(64)))
_TOP_BITS: Final = int.from_bytes(b"\x80" * REGISTERS, "little")


def new_sketch() -> bytearray:
    """One that has seen nothing."""
    return bytearray(_MAGIC + bytes((_SPARSE,)) + bytes(11) + b"\x7f\xff")


def is_sketch(data: Sketch) -> bool:
    """Whether a string looks like one."""
    if len(data) < HEADER_BYTES or data[:4] != _MAGIC or data[_ENCODING_AT] > _SPARSE:
        return False
    return data[_ENCODING_AT] == _SPARSE or len(data) == DENSE_BYTES


def is_sparse(data: Sketch) -> bool:
    """Whether the registers are kept as runs."""
    return data[_ENCODING_AT] == _SPARSE


def add(data: bytearray, elements: Sequence[bytes], sparse_bytes_max: int) -> bool:
    """Note elements; whether a register changed. Beyond so many bytes it becomes dense."""
    changed = False
    for word in murmur_hashes(elements):
        rest = word >> _INDEX_BITS | 1 << _HASH_BITS
        count = (rest & -rest).bit_length()
        if set_register(data, word & REGISTERS - 1, count, sparse_bytes_max):
            changed = True
    if changed:
        forget_count(data)
    return changed


def add_to_dense(data: bytearray, elements: Sequence[bytes]) -> list[bool]:
    """For each element whether a register changed; `data` is dense."""
    changes: list[bool] = []
    note = changes.append
    for word in murmur_hashes(elements):
        bit = (word & REGISTERS - 1) * 6
        at = HEADER_BYTES + (bit >> 3)
        pair = data[at] | data[at + 1] << 8 if at < _LAST_BYTE else data[at]
        rest = word >> _INDEX_BITS | 1 << _HASH_BITS
        count = (rest & -rest).bit_length()
        if pair >> (bit & 7) & 63 >= count:
            note(False)  # mostly
        else:
            note(_set_dense(data, word & REGISTERS - 1, count))
    if True in changes:
        forget_count(data)
    return changes


def set_register(data: bytearray, index: int, count: int, sparse_bytes_max: int) -> bool:
    """Raise a register to `count`; whether it was less."""
    if data[_ENCODING_AT] == _DENSE:
        return _set_dense(data, index, count)
    if count <= _VALUE_MAX:
        changed = _set_sparse(data, index, count, sparse_bytes_max)
        if changed is not None:
            return changed
    make_dense(data)
    return _set_dense(data, index, count)


def _set_dense(data: bytearray, index: int, count: int) -> bool:
    bit = index * 6
    at = HEADER_BYTES + (bit >> 3)
    shift = bit & 7
    if shift <= 2:
        if data[at] >> shift & 63 >= count:
            return False
        data[at] = data[at] & ~(63 << shift) | count << shift
        return True
    word = data[at] | data[at + 1] << 8
    if word >> shift & 63 >= count:
        return False
    word = word & ~(63 << shift) | count << shift
    data[at] = word & 0xFF
    data[at + 1] = word >> 8
    return True


def _find_run(data: Sketch, index: int) -> tuple[int, int, int]:
    """The run of a register: where it stands, its first register, where the run before stands.

    That is the run itself where it is the first.
    """
    at = previous = HEADER_BYTES
    first = 0
    size = len(data)
    while at < size:
        # up to the next long run of zeros every byte is a run
        match = _LONG_ZEROS.search(data, at)
        end = size if match is None else match.start()
        while at < end:
            chunk_end = min(at + _CHUNK_BYTES, end)
            span = sum(data[at:chunk_end].translate(_SPANS))
            if first + span > index:
                while first + (span := _SPANS[data[at]]) <= index:
                    previous = at
                    at += 1
                    first += span
                return at, first, previous
            previous = chunk_end - 1
            at = chunk_end
            first += span
        if at + 1 >= size:
            break
        span = ((data[at] & 0x3F) << 8 | data[at + 1]) + 1
        if first + span > index:
            return at, first, previous
        previous = at
        at += 2
        first += span
    raise InvalidObjectError


def _zeros(count: int) -> bytes:
    if count <= 0:
        return b""
    if count <= _SHORT_ZEROS_MAX:
        return bytes((count - 1,))
    return bytes((0x40 | count - 1 >> 8, count - 1 & 0xFF))


def _run(value: int, count: int) -> bytes:
    return bytes((0x80 | value - 1 << 2 | count - 1,)) if count else b""


def _set_sparse(data: bytearray, index: int, count: int, bytes_max: int) -> bool | None:
    """Whether the register was less; None where the change takes too many bytes."""
    at, first, previous = _find_run(data, index)
    byte = data[at]
    size = 1
    if byte & 0x80:
        value, span = (byte >> 2 & 31) + 1, (byte & 3) + 1
        if value >= count:
            return False
        middle = _run(count, 1)
        before, after = _run(value, index - first), _run(value, first + span - 1 - index)
    else:
        if byte & 0x40:
            size = 2
            span = ((byte & 0x3F) << 8 | data[at + 1]) + 1
        else:
            span = byte + 1
        middle = _run(count, 1)
        before, after = _zeros(index - first), _zeros(first + span - 1 - index)
    runs = before + middle + after
    if len(runs) > size and len(data) + len(runs) - size > bytes_max:
        return None
    data[at : at + size] = runs
    _merge_runs(data, previous)
    return True


def _merge_runs(data: bytearray, at: int) -> None:
    """Join neighbours of equal value: so many steps from `at` on, as Redis does."""
    for _ in range(_MERGE_STEPS):
        if at + 1 >= len(data):
            return
        byte, following = data[at], data[at + 1]
        if byte & 0x80:
            count = (byte & 3) + (following & 3) + 2
            if not (byte ^ following) & 0xFC and count <= _RUN_MAX:
                data[at : at + 2] = bytes((byte & 0xFC | count - 1,))
                continue  # the joined run may join with the one after it
        elif byte & 0x40:
            at += 1
        at += 1


def registers_of(data: Sketch) -> bytes:
    """All registers, a byte each."""
    if data[_ENCODING_AT] == _DENSE:
        # base64 splits bytes into six bits each, from the other end
        digits = b2a_base64(data[: HEADER_BYTES - 1 : -1], newline=False)
        return digits.translate(_VALUES)[::-1]
    pieces: list[bytes] = []
    at = HEADER_BYTES
    size = len(data)
    count = 0
    while at < size:
        byte = data[at]
        if byte & 0x80:
            span = (byte & 3) + 1
            pieces.append(_ONE_EACH[(byte >> 2 & 31) + 1] * span)
        elif byte & 0x40:
            at += 1
            if at == size:
                raise InvalidObjectError
            span = ((byte & 0x3F) << 8 | data[at]) + 1
            pieces.append(bytes(span))
        else:
            span = byte + 1
            pieces.append(bytes(span))
        at += 1
        count += span
        if count > REGISTERS:
            raise InvalidObjectError
    if count != REGISTERS:
        raise InvalidObjectError
    return b"".join(pieces)


def pack_registers(registers: bytes) -> bytes:
    """The dense form of registers, without a header."""
    return a2b_base64(registers[::-1].translate(_DIGITS))[::-1]


def make_dense(data: bytearray) -> bool:
    """Keep six bits a register from now on; whether it was sparse."""
    if data[_ENCODING_AT] == _DENSE:
        return False
    data[HEADER_BYTES:] = pack_registers(registers_of(data))
    data[_ENCODING_AT] = _DENSE
    return True


def merge_registers(first: bytes, second: bytes) -> bytes:
    """Register by register the greater one."""
    ours, theirs = int.from_bytes(first, "little"), int.from_bytes(second, "little")
    # the top bit of a byte stays where the second register is not less
    not_less = ((theirs | _TOP_BITS) - ours & _TOP_BITS) >> 7
    chosen = (not_less << 8) - not_less
    return (theirs & chosen | ours & ~chosen).to_bytes(REGISTERS, "little")


def raise_registers(data: bytearray, registers: bytes, sparse_bytes_max: int) -> None:
    """Raise every register to at least what is given."""
    if is_sparse(data):
        for index in map(re.Match.start, _NONZERO.finditer(registers)):
            if is_sparse(data):
                set_register(data, index, registers[index], sparse_bytes_max)
    if not is_sparse(data):
        data[HEADER_BYTES:] = pack_registers(merge_registers(registers_of(data), registers))
    forget_count(data)


def cached_count(data: Sketch) -> int | None:
    """The cardinality, where it is still known."""
    if data[_CACHE_END - 1] & _STALE:
        return None
    return int.from_bytes(data[_CACHE_AT:_CACHE_END], "little")


def cache_count(data: bytearray, count: int) -> None:
    """Remember the cardinality until the next change."""
    data[_CACHE_AT:_CACHE_END] = count.to_bytes(8, "little")


def forget_count(data: bytearray) -> None:
    """The cardinality is to be estimated anew."""
    data[_CACHE_END - 1] |= _STALE


def estimate(registers: bytes) -> int:
    """How many different elements made these registers (Ertl, arXiv:1702.01284)."""
    histogram = [0] * 64
    rest = registers
    for value in range(64):
        if value in rest:
            fewer = rest.translate(None, _ONE_EACH[value])
            histogram[value] = len(rest) - len(fewer)
            rest = fewer
    size = float(REGISTERS)
    total = size * _tau((size - histogram[_HASH_BITS + 1]) / size)
    for value in range(_HASH_BITS, 0, -1):
        total = (total + histogram[value]) * 0.5
    total += size * _sigma(histogram[0] / size)
    if total < _TOTAL_MIN:
        return INTEGER_MAX
    return int(_ALPHA * size * size / total + 0.5)


def _sigma(share: float) -> float:
    if share == 1.0:
        return inf
    weight, total, before = 1.0, share, -1.0
    while total != before:
        share *= share
        before = total
        total += share * weight
        weight += weight
    return total


def _tau(share: float) -> float:
    if share in (0.0, 1.0):
        return 0.0
    weight, total, before = 1.0, 1 - share, -1.0
    while total != before:
        share = sqrt(share)
        before = total
        weight *= 0.5
        total -= (1 - share) ** 2 * weight
    return total / 3


def describe_runs(data: Sketch) -> bytes:
    """The runs of a sparse one as people read them: z and Z for zeros, v for a value."""
    words: list[bytes] = []
    at = HEADER_BYTES
    while at < len(data):
        byte = data[at]
        if byte & 0x80:
            words.append(b"v:%d,%d" % ((byte >> 2 & 31) + 1, (byte & 3) + 1))
        elif byte & 0x40:
            at += 1
            if at == len(data):
                raise InvalidObjectError
            words.append(b"Z:%d" % (((byte & 0x3F) << 8 | data[at]) + 1))
        else:
            words.append(b"z:%d" % (byte + 1))
        at += 1
    return b" ".join(words)
