"""Block keys from token ids: the chained hash schemes, the same in the server and in clients.

A prompt is cut into full blocks of `block_tokens` ids (the rest is dropped); each block's key is a
hash of its tokens chained on the key before, so that equal keys mean equal prefixes. Tokens come
as a blob of little-endian uint32, keys go out packed: `width` bytes each, nothing between.

    kvcm              8 bytes   a running 64-bit hash over every token, big-endian
    vllm-sha256-cbor  32 bytes  sha256 of canonical CBOR [parent, [tokens], null]; root sha256(seed)
    sglang-sha256     32 bytes  sha256 of the parent's digest (none at the root) and the tokens
    xxh3              8 bytes   XXH3-64 of the parent's key (zeros at the root) and the tokens
"""

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from xxhash import xxh3_64_digest

TOKEN_BYTES: Final = 4
DEFAULT_SCHEME: Final = "kvcm"
DEFAULT_SEED: Final = "vllm-none-hash"

_WORD: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63
_UPPER_HALF: Final = _WORD ^ 0xFFFFFFFF
_GOLDEN: Final = 0x9E3779B97F4A7C15

_Chain = Callable[[bytes, int, bytes | None, str], bytes]


@dataclass(frozen=True, slots=True)
class Scheme:
    """One hash scheme: its name, the width of its keys, whether it takes a seed, and the chain."""

    name: str
    key_bytes: int
    seeded: bool
    chain: _Chain


def hash_tokens(
    scheme: str, tokens: bytes, block_tokens: int, *, seed: str = "", parent: bytes | None = None
) -> bytes:
    """The packed keys of the full blocks in `tokens`.

    With `parent` the chain goes on behind that key. ValueError for an unknown scheme, a blob that
    is not whole ids, blocks of no tokens, or a parent of another width.
    """
    found = SCHEMES.get(scheme)
    if found is None:
        raise ValueError(f"unknown hash scheme {scheme!r}")
    if block_tokens < 1:
        raise ValueError(f"blocks of {block_tokens} tokens")
    if len(tokens) % TOKEN_BYTES:
        raise ValueError(f"{len(tokens)} bytes are not whole {TOKEN_BYTES}-byte token ids")
    if parent is not None and len(parent) != found.key_bytes:
        raise ValueError(f"parent of {len(parent)} bytes, {scheme} keys have {found.key_bytes}")
    return found.chain(tokens, block_tokens * TOKEN_BYTES, parent, seed or DEFAULT_SEED)


def pack_tokens(tokens: Sequence[int]) -> bytes:
    """Token ids as the blob that `hash_tokens` and TOKENS take."""
    return struct.pack(f"<{len(tokens)}I", *tokens)


def _unpacked(tokens: bytes) -> "array[int]":
    values = array("I")
    values.frombytes(tokens)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _chain_kvcm(tokens: bytes, block_bytes: int, parent: bytes | None, _seed: str) -> bytes:
    state = int.from_bytes(parent, "big") if parent is not None else 0
    values = _unpacked(tokens)
    block_tokens = block_bytes // TOKEN_BYTES
    keys = array("Q")
    for start in range(0, len(values) - block_tokens + 1, block_tokens):
        for token in values[start : start + block_tokens]:
            # the right shift is that of a signed word: the sign fills the upper half
            shifted = state >> 32 if state < _SIGN else (state >> 32) | _UPPER_HALF
            state ^= (token + _GOLDEN + (state << 12) + shifted) & _WORD
        keys.append(state)
    if sys.byteorder == "little":
        keys.byteswap()
    return keys.tobytes()


def _chain_sglang(tokens: bytes, block_bytes: int, parent: bytes | None, _seed: str) -> bytes:
    digest = parent or b""
    keys: list[bytes] = []
    view = memoryview(tokens)
    for start in range(0, len(tokens) - block_bytes + 1, block_bytes):
        state = sha256(digest)
        state.update(view[start : start + block_bytes])
        digest = state.digest()
        keys.append(digest)
    return b"".join(keys)


def _chain_xxh3(tokens: bytes, block_bytes: int, parent: bytes | None, _seed: str) -> bytes:
    key = parent if parent is not None else bytes(8)
    keys: list[bytes] = []
    for start in range(0, len(tokens) - block_bytes + 1, block_bytes):
        key = xxh3_64_digest(key + tokens[start : start + block_bytes])
        keys.append(key)
    return b"".join(keys)


def _chain_vllm(tokens: bytes, block_bytes: int, parent: bytes | None, seed: str) -> bytes:
    if parent is None:
        text = seed.encode()
        parent = sha256(cbor_head(3, len(text)) + text).digest()
    values = _unpacked(tokens)
    block_tokens = block_bytes // TOKEN_BYTES
    # [parent, [tokens ...], null]: what stands around the parent and the tokens is constant
    head = b"\x83" + cbor_head(2, len(parent))
    array_head = cbor_head(4, block_tokens)
    keys: list[bytes] = []
    for start in range(0, len(values) - block_tokens + 1, block_tokens):
        body = b"".join(map(_cbor_token, values[start : start + block_tokens]))
        parent = sha256(b"".join((head, parent, array_head, body, b"\xf6"))).digest()
        keys.append(parent)
    return b"".join(keys)


def cbor_head(major: int, value: int) -> bytes:
    """The shortest (canonical) CBOR head: major type and value or length."""
    kind = major << 5
    if value < 24:
        return bytes((kind | value,))
    if value < 1 << 8:
        return bytes((kind | 24, value))
    if value < 1 << 16:
        return struct.pack(">BH", kind | 25, value)
    if value < 1 << 32:
        return struct.pack(">BI", kind | 26, value)
    return struct.pack(">BQ", kind | 27, value)


_BYTE_TOKENS: Final = tuple(cbor_head(0, value) for value in range(256))
_pack_short: Final = struct.Struct(">BH").pack
_pack_long: Final = struct.Struct(">BI").pack


def _cbor_token(token: int) -> bytes:
    if token < 256:
        return _BYTE_TOKENS[token]
    return _pack_short(25, token) if token < 65536 else _pack_long(26, token)


SCHEMES: Final = {
    scheme.name: scheme
    for scheme in (
        Scheme("kvcm", 8, False, _chain_kvcm),
        Scheme("vllm-sha256-cbor", 32, True, _chain_vllm),
        Scheme("sglang-sha256", 32, False, _chain_sglang),
        Scheme("xxh3", 8, False, _chain_xxh3),
    )
}
