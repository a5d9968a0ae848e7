"""KVC.GETLOC, KVC.META and KVC.LEASE."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer
from xxhash import xxh3_64_hexdigest

from hotplate.errors import CommandError
from hotplate.wire.hashing import hash_tokens, pack_tokens
from hotplate.wire.schema import decode_locations
from hotplate.wire.uri import parse_uri

KEYS = [b"key-%02d" % number for number in range(10)]
PACKED = (b"PACKED", 6, b"".join(KEYS))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KvcServer]:
    made = KvcServer(tmp_path)
    client = made.client()
    client.line("KVC.GROUP UPDATE default VERSION 1 GRACE 0")
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC kv 5")
    client.line("KVC.INSTANCE REGISTER two GROUP default BLOCKTOKENS 2 SPEC a 3 SPEC b 4")
    yield made
    made.close()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(server: KvcServer, request: pytest.FixtureRequest) -> Client:
    return server.client(request.param)


def as_map(reply: Any) -> dict[bytes, Any]:
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def put(client: Client, instance: str, keys: list[bytes], *options: Any, size: int = 5) -> int:
    data = [part for key in keys for part in (key, key[-2:].rjust(size, b"."))]
    stored = client("KVC.PUT", instance, *options, len(keys), *data)
    assert isinstance(stored, int)
    return stored


# GETLOC


def test_prefix_matches_up_to_the_first_miss(client: Client) -> None:
    put(client, "one", KEYS[:4])
    matched, start, entries, lease = client("KVC.GETLOC", "one", *PACKED)
    assert (matched, start, lease) == (4, 0, None)
    assert len(entries) == 4
    for key, (storage, kind, parts) in zip(KEYS, entries, strict=False):
        [[spec, uri, size, digest]] = parts
        assert (storage, kind, spec, size) == (b"memory", b"memory", b"kv", 5)
        assert digest.decode() == xxh3_64_hexdigest(key[-2:].rjust(5, b"."))
        assert parse_uri(uri).size == 5


@pytest.mark.parametrize(
    "keys",
    [
        ("PACKED", 6, b"".join(KEYS)),
        ("packed", 6, b"".join(KEYS)),
        ("KEYS", 10, *KEYS),
    ],
)
def test_count_answers_the_number_alone(client: Client, keys: tuple[Any, ...]) -> None:
    put(client, "one", KEYS[:7])
    assert client("KVC.GETLOC", "one", "COUNT", *keys) == 7
    assert client("KVC.GETLOC", "one", "count", "NOTOUCH", *keys) == 7


def test_tokens_are_cut_and_hashed_by_the_server(client: Client) -> None:
    tokens = pack_tokens(range(1, 8))
    keys = hash_tokens("kvcm", tokens, 2)
    put(client, "one", [keys[:8], keys[8:16]])
    assert client("KVC.GETLOC", "one", "COUNT", "TOKENS", tokens) == 2
    assert client("KVC.GETLOC", "one", "COUNT", "PACKED", 8, keys) == 2


def test_masked_keys_are_dropped_from_a_prefix(client: Client) -> None:
    put(client, "one", KEYS[:4])
    matched, start, entries, _ = client("KVC.GETLOC", "one", "SKIP", 3, *PACKED)
    assert (matched, start, len(entries)) == (1, 3, 1)
    matched, start, entries, _ = client("KVC.GETLOC", "one", "MASK", "1100000000", *PACKED)
    assert (matched, start, len(entries)) == (2, 2, 2)
    assert client("KVC.GETLOC", "one", "COUNT", "SKIP", 10, *PACKED) == 0


def test_a_mask_with_holes_matches_the_unmasked_keys_in_order(client: Client) -> None:
    put(client, "one", KEYS[:4])
    matched, start, entries, _ = client("KVC.GETLOC", "one", "MASK", "1010000000", *PACKED)
    assert (matched, start, len(entries)) == (3 - 1, 1, 2)


def test_exact_answers_each_key(client: Client) -> None:
    put(client, "one", KEYS[:3])
    wanted = [KEYS[2], b"absent", KEYS[0]]
    matched, start, entries, _ = client("KVC.GETLOC", "one", "EXACT", "KEYS", 3, *wanted)
    assert (matched, start) == (2, 0)
    assert [entry is not None for entry in entries] == [True, False, True]
    assert client("KVC.GETLOC", "one", "EXACT", "COUNT", "SKIP", 1, "KEYS", 3, *wanted) == 2


def test_a_window_is_the_right_most_run(client: Client) -> None:
    put(client, "one", KEYS[:5])
    matched, start, entries, _ = client("KVC.GETLOC", "one", "WINDOW", 2, *PACKED)
    assert (matched, start, len(entries)) == (2, 3, 2)
    prefix = client("KVC.GETLOC", "one", *PACKED)[2]
    assert entries == prefix[3:5]
    blob = client("KVC.GETLOC", "one", "WINDOW", 2, "FORMAT", "msgpack", *PACKED)[2]
    assert sorted(decode_locations(blob).entries()) == [0, 1]
    assert client("KVC.GETLOC", "one", "WINDOW", 6, *PACKED) == [0, -1, [], None]


@pytest.mark.parametrize("mode", [(), ("EXACT",), ("WINDOW", 3)])
def test_zero_keys_are_valid(client: Client, mode: tuple[Any, ...]) -> None:
    assert client("KVC.GETLOC", "one", *mode, "KEYS", 0) == [0, 0, [], None]
    assert client("KVC.GETLOC", "one", *mode, "PACKED", 8, b"") == [0, 0, [], None]
    assert client("KVC.GETLOC", "one", *mode, "COUNT", "TOKENS", pack_tokens([1])) == 0


def test_packed_locations_say_the_same_as_entries(client: Client) -> None:
    put(client, "two", KEYS[:4], size=7)
    for options in ((), ("SPECS", 1, "b"), ("SPECS", 2, "b", "a")):
        entries = client("KVC.GETLOC", "two", *options, *PACKED)[2]
        blob = client("KVC.GETLOC", "two", *options, "FORMAT", "MSGPACK", *PACKED)[2]
        unpacked = decode_locations(blob).entries()
        assert list(unpacked) == [0, 1, 2, 3]
        for index, (_, _, parts) in enumerate(entries):
            assert [part[0] for part in parts] == [b"b"] if options[1:2] == (1,) else [b"a", b"b"]
            said = [
                [part.spec.encode(), part.uri.encode(), part.size, b"%016x" % (part.sum or 0)]
                for part in unpacked[index]
            ]
            assert said == parts


def test_a_long_run_is_one_small_span(client: Client) -> None:
    keys = [b"%08d" % number for number in range(2048)]
    packed = ("PACKED", 8, b"".join(keys))
    session, mask, _ = client("KVC.STARTWRITE", "one", "FORMAT", "msgpack", *packed)
    assert mask == b"0" * 2048
    client("KVC.FINISH", "one", session, "CHECKSUMS", struct.pack(">2048Q", *range(1, 2049)))
    matched, _, blob, _ = client("KVC.GETLOC", "one", "FORMAT", "msgpack", *packed)
    assert matched == 2048
    assert len(decode_locations(blob).spans) == 1
    assert len(blob) < 2048 * 8 + 100


def test_a_disabled_storage_is_a_miss_until_it_is_enabled(client: Client) -> None:
    put(client, "one", KEYS[:4])
    client.line("KVC.STORAGE DISABLE memory")
    assert client("KVC.GETLOC", "one", *PACKED) == [0, 0, [], None]
    client.line("KVC.STORAGE ENABLE memory")
    assert client("KVC.GETLOC", "one", "COUNT", *PACKED) == 4


def test_getloc_works_inside_a_transaction(client: Client) -> None:
    put(client, "one", KEYS[:4])
    client("MULTI")
    assert client("KVC.GETLOC", "one", "COUNT", *PACKED) == b"QUEUED"
    assert client("EXEC") == [4]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", *PACKED), "^NOINSTANCE .*'nobody'"),
        (("one", "SKIP", 11, *PACKED), "^BADMASK SKIP 11 .*10 keys"),
        (("one", "SKIP", -1, *PACKED), "^ERR SKIP .*'-1'"),
        (("one", "MASK", "101", *PACKED), "^BADMASK mask of 3 for 10"),
        (("one", "MASK", "1100000002", *PACKED), "^BADMASK"),
        (("one", "EXACT", "MASK", "101", *PACKED), "^BADMASK"),
        (("one", "SKIP", 1, "MASK", "1100000000", *PACKED), "^ERR syntax error"),
        (("one", "WINDOW", 0, *PACKED), "^ERR WINDOW .*'0'"),
        (("one", "WINDOW", 11, *PACKED), "^ERR WINDOW 11"),
        (("one", "WINDOW", "x", *PACKED), "^ERR WINDOW .*'x'"),
        (("one", "EXACT", "PREFIX", *PACKED), "^ERR syntax error"),
        (("one", "COUNT", "COUNT", *PACKED), "^ERR COUNT is given twice"),
        (("one", "COUNT", "LEASE", 5, *PACKED), "^ERR COUNT takes neither"),
        (("one", "FORMAT", "resp", "COUNT", *PACKED), "^ERR COUNT takes neither"),
        (("one", "FORMAT", "json", *PACKED), "^ERR unknown FORMAT 'json'"),
        (("one", "LEASE", 0, *PACKED), "^ERR LEASE .*'0'"),
        (("one", "LEASE", 60001, *PACKED), "^ERR LEASE .*60000, not '60001'"),
        (("one", "SPECS", 1, "nope", *PACKED), "^ERR unknown spec 'nope'"),
        (("one", "SPECS", 0, *PACKED), "^ERR SPECS .*'0'"),
        (("one", "SPECS", 1000000, "a"), "^ERR SPECS"),
        (("one", "PACKED", 0, b""), "^ERR PACKED width .*'0'"),
        (("one", "PACKED", 129, b""), "^ERR PACKED width .*'129'"),
        (("one", "PACKED", 6, b"1234567"), "^ERR PACKED blob of 7 bytes"),
        (("one", "PACKED", 1, bytes(65537)), "^ERR 65537 keys in one call"),
        (("one", "KEYS", 2, b"a"), "^ERR KEYS 2, but 1 keys follow"),
        (("one", "KEYS", -1, b"a"), "^ERR KEYS .*'-1'"),
        (("one", "KEYS", 1, b""), "^ERR key of 0 bytes"),
        (("one", "KEYS", 1, b"x" * 129), "^ERR key of 129 bytes"),
        (("one", "TOKENS", b"12345"), "^ERR TOKENS: 5 bytes are not whole"),
        (("one", "NOTOUCH", "COUNT"), "^ERR syntax error"),
        (("one", "COLOUR", *PACKED), "^ERR syntax error"),
    ],
)
def test_a_refused_lookup_changes_nothing(
    server: KvcServer, client: Client, words: tuple[Any, ...], text: str
) -> None:
    put(client, "one", KEYS[:2])
    before = server.state({b"one": KEYS})
    with pytest.raises(CommandError, match=text):
        client("KVC.GETLOC", *words)
    assert server.state({b"one": KEYS}) == before


# leases


def test_a_lease_is_extended_and_released(server: KvcServer, client: Client) -> None:
    put(client, "one", KEYS[:2])
    lease = client("KVC.GETLOC", "one", "LEASE", 1000, *PACKED)[3]
    assert isinstance(lease, bytes)
    assert as_map(client("KVC.META", "one", "KEYS", 1, KEYS[0])[0])[b"leases"] == 1
    server.clock.advance(900)
    assert client("KVC.LEASE", "one", lease, "EXTEND", 1000) == 1
    server.clock.advance(900)
    assert client("KVC.LEASE", "one", lease, "RELEASE") == 1
    assert client("KVC.LEASE", "one", lease, "RELEASE") == 0
    assert client("KVC.LEASE", "one", lease, "EXTEND", 5) == 0


def test_a_lease_ends_by_itself(server: KvcServer, client: Client) -> None:
    put(client, "one", KEYS[:2])
    lease = client("KVC.GETLOC", "one", "LEASE", 1000, *PACKED)[3]
    server.clock.advance(1001)
    assert client("KVC.LEASE", "one", lease, "EXTEND", 1000) == 0


def test_leases_stay_under_half_of_the_quota(client: Client) -> None:
    client.line("KVC.GROUP UPDATE default VERSION 2 QUOTA 40")
    put(client, "one", KEYS[:4])
    matched, _, entries, lease = client("KVC.GETLOC", "one", "LEASE", 1000, *PACKED)
    assert (matched, len(entries), lease) == (4, 4, None) or lease is not None
    put(client, "one", KEYS[:6])
    matched, _, entries, lease = client("KVC.GETLOC", "one", "LEASE", 1000, *PACKED)
    assert (matched, len(entries), lease) == (6, 6, None)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", "x", "RELEASE"), "^NOINSTANCE"),
        (("one", "x", "EXTEND"), "^ERR syntax error"),
        (("one", "x", "EXTEND", 0), "^ERR EXTEND .*'0'"),
        (("one", "x", "EXTEND", 60001), "^ERR EXTEND .*'60001'"),
        (("one", "x", "RELEASE", 5), "^ERR syntax error"),
        (("one", "x", "KEEP"), "^ERR syntax error"),
    ],
)
def test_a_refused_lease_command_names_what_is_wrong(
    client: Client, words: tuple[Any, ...], text: str
) -> None:
    with pytest.raises(CommandError, match=text):
        client("KVC.LEASE", *words)


# META


def test_meta_shows_a_block_and_its_copies(server: KvcServer, client: Client) -> None:
    now_ms = server.clock.now_ms()
    put(client, "two", KEYS[:2], "TTL", 60, "PRIORITY", 70, size=7)
    server.clock.advance(10)
    client("KVC.GETLOC", "two", "KEYS", 2, *KEYS[:2])
    missing, second = client("KVC.META", "two", "KEYS", 2, b"absent", KEYS[1])
    assert missing is None
    meta = as_map(second)
    [location] = [as_map(item) for item in meta.pop(b"locations")]
    assert meta == {
        b"parent": KEYS[0],
        b"state": b"serving",
        b"bytes": 7,
        b"created": now_ms,
        b"accessed": now_ms + 10,
        b"hits": 1,
        b"expires": now_ms + 60_000,
        b"priority": 70,
        b"leases": 0,
    }
    payload = KEYS[1][-2:].rjust(7, b".")
    sums = [xxh3_64_hexdigest(part).encode() for part in (payload[:3], payload[3:])]
    assert location == {
        b"storage": b"memory",
        b"type": b"memory",
        b"available": 1,
        b"state": b"serving",
        b"bytes": 7,
        b"specs": [b"a", b"b"],
        b"sums": sums,
    }


def test_meta_shows_blocks_that_are_being_written(client: Client) -> None:
    client("KVC.STARTWRITE", "one", "KEYS", 1, b"new")
    meta = as_map(client("KVC.META", "one", "KEYS", 1, b"new")[0])
    [location] = [as_map(item) for item in meta[b"locations"]]
    assert (meta[b"state"], location[b"state"], location[b"sums"]) == (b"writing", b"writing", [])


def test_meta_leaves_masked_keys_out(client: Client) -> None:
    put(client, "one", KEYS[:3])
    reply = client("KVC.META", "one", "MASK", "101", "KEYS", 3, *KEYS[:3])
    assert [as_map(item)[b"parent"] for item in reply] == [KEYS[0]]
    assert client("KVC.META", "one", "SKIP", 3, "KEYS", 3, *KEYS[:3]) == []
    with pytest.raises(CommandError, match=r"^BADMASK"):
        client("KVC.META", "one", "SKIP", 4, "KEYS", 3, *KEYS[:3])
