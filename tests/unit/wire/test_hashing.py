"""Hash schemes against published and independently written vectors."""

import hashlib
import struct

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from hotplate.wire.hashing import SCHEMES, cbor_head, hash_tokens, pack_tokens

tokens_lists = st.lists(st.integers(0, 2**32 - 1), max_size=40)


def signed(keys: bytes) -> list[int]:
    return [value for (value,) in struct.iter_unpack(">q", keys)]


@pytest.mark.parametrize(
    ("tokens", "block_tokens", "keys"),
    [
        (range(1, 10), 4, [455111481605203084, 6902853672176602142]),
        ([151644, 8948, 198, 2610], 2, [-8366447770138712909, 555616881177985336]),
    ],
)
def test_kvcm_keys_equal_the_published_vectors(
    tokens: list[int], block_tokens: int, keys: list[int]
) -> None:
    assert signed(hash_tokens("kvcm", pack_tokens(tokens), block_tokens)) == keys


@given(tokens_lists, st.integers(1, 5))
def test_kvcm_follows_its_definition(tokens: list[int], block_tokens: int) -> None:
    mask, state, keys = 2**64 - 1, 0, []
    for index in range(len(tokens) // block_tokens * block_tokens):
        mixed = tokens[index] + 0x9E3779B97F4A7C15 + (state << 12) + (state >> 32)
        state = (state & mask) ^ (mixed & mask)
        state = state - 2**64 if state >= 2**63 else state
        if index % block_tokens == block_tokens - 1:
            keys.append(state)
    assert signed(hash_tokens("kvcm", pack_tokens(tokens), block_tokens)) == keys


def test_vllm_keys_equal_those_of_sha256_cbor() -> None:
    keys = hash_tokens("vllm-sha256-cbor", pack_tokens([1, 2, 3, 4]), 4)
    assert keys.hex() == "58d0879dff3800f65f8c5fd449d73048c0f7699dd238a03b84b146b151d55111"
    assert int.from_bytes(keys, "big") & (2**64 - 1) == 9561501211280363793


def test_the_root_of_vllm_chains_is_the_hash_of_the_seed() -> None:
    seed = "vllm-none-hash"
    root = hashlib.sha256(cbor_head(3, len(seed)) + seed.encode()).digest()
    assert root.hex() == "9bd96a485ad84efdafb72ee48a1d7a69bcead0f8f0433173941b276b9581eef0"
    tokens = pack_tokens([7, 300, 70_000, 2**32 - 1])
    plain = hash_tokens("vllm-sha256-cbor", tokens, 4)
    assert hash_tokens("vllm-sha256-cbor", tokens, 4, parent=root) == plain
    assert hash_tokens("vllm-sha256-cbor", tokens, 4, seed="other") != plain
    body = bytes.fromhex("830719012c1a000111701affffffff")
    cbor = b"\x83\x58\x20" + root + b"\x84" + body[1:] + b"\xf6"
    assert plain == hashlib.sha256(cbor).digest()


def test_sglang_keys_chain_the_digest_before_the_tokens() -> None:
    tokens = pack_tokens([1, 2, 3, 4, 5])
    first = hashlib.sha256(tokens[:8]).digest()
    second = hashlib.sha256(first + tokens[8:16]).digest()
    assert hash_tokens("sglang-sha256", tokens, 2) == first + second


def test_xxh3_keys_chain_the_key_before_the_tokens() -> None:
    tokens = pack_tokens([1, 2, 3, 4, 5])
    first = xxhash.xxh3_64(bytes(8) + tokens[:8]).digest()
    second = xxhash.xxh3_64(first + tokens[8:16]).digest()
    assert hash_tokens("xxh3", tokens, 2) == first + second


@pytest.mark.parametrize("value", [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32])
def test_cbor_heads_are_the_shortest(value: int) -> None:
    head = cbor_head(0, value)
    widths = {0: 24, 1: 2**8, 2: 2**16, 4: 2**32}
    width = next((width for width, end in widths.items() if value < end), 8)
    assert len(head) == 1 + width
    assert int.from_bytes(head[1:], "big") == (value if width else 0)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(tokens=tokens_lists, block_tokens=st.integers(1, 5), cut=st.integers(0, 8))
def test_a_chain_goes_on_behind_its_parent(
    scheme: str, tokens: list[int], block_tokens: int, cut: int
) -> None:
    width = SCHEMES[scheme].key_bytes
    keys = hash_tokens(scheme, pack_tokens(tokens), block_tokens)
    count = len(tokens) // block_tokens
    assert len(keys) == count * width
    cut = min(cut, count)
    parent = keys[(cut - 1) * width : cut * width] if cut else None
    rest = pack_tokens(tokens[cut * block_tokens :])
    assert hash_tokens(scheme, rest, block_tokens, parent=parent) == keys[cut * width :]


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_no_full_block_has_no_key(scheme: str) -> None:
    assert hash_tokens(scheme, b"", 4) == b""
    assert hash_tokens(scheme, pack_tokens([1, 2, 3]), 4) == b""


@pytest.mark.parametrize(
    ("scheme", "tokens", "block_tokens", "parent", "text"),
    [
        ("md5", b"", 1, None, "unknown hash scheme 'md5'"),
        ("xxh3", b"123", 1, None, "3 bytes are not whole 4-byte token ids"),
        ("xxh3", b"1234", 0, None, "blocks of 0 tokens"),
        ("xxh3", b"1234", 1, b"12", "parent of 2 bytes, xxh3 keys have 8"),
    ],
)
def test_what_cannot_be_hashed_is_refused(
    scheme: str, tokens: bytes, block_tokens: int, parent: bytes | None, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        hash_tokens(scheme, tokens, block_tokens, parent=parent)
