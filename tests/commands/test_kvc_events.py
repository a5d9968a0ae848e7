"""Events: what each command and the background write, and where they go when they can't."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.connection_bench import Bench, request
from tests.testing.kvc_context import Client, KvcServer
from tests.testing.scripted_transport import ScriptedTransport

from hotplate.engine.context import Gate
from hotplate.errors import CommandError
from hotplate.wire.events import pack_list, unpack_list

KEY = b"kvc:events:one"
LISTS = {b"keys", b"tokens", b"block_keys", b"location_spec_names", b"location_spec_group_names"}
HEAD = [b"id", b"sequence", b"source", b"component", b"type", b"trigger_time_us"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    server = KvcServer(tmp_path)
    client = server.client(resp=3)
    client.line("CONFIG SET kvc-events yes")
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC kv 5")
    yield client
    server.close()


def entries(client: Client, key: bytes = KEY) -> list[dict[bytes, Any]]:
    """The events, lists unpacked."""
    events: list[dict[bytes, Any]] = []
    for _, flat in client("XRANGE", key, "-", "+"):
        event = dict(zip(flat[::2], flat[1::2], strict=True))
        assert list(event)[: len(HEAD)] == HEAD
        events.append({k: unpack_list(v) if k in LISTS else v for k, v in event.items()})
    return events


def last(client: Client) -> dict[bytes, Any]:
    """The newest event without what every event has."""
    return {k: v for k, v in entries(client)[-1].items() if k not in HEAD or k == b"type"}


def test_every_event_says_where_it_comes_from_and_is_numbered(client: Client) -> None:
    client.line("KVC.GETLOC one COUNT KEYS 1 a")
    client.line("KVC.INSTANCE REGISTER two GROUP default BLOCKTOKENS 2 SPEC kv 5")
    client.line("KVC.GETLOC two COUNT KEYS 1 a")
    client.line("KVC.GETLOC one COUNT KEYS 1 a")
    first, second = entries(client)
    assert (first[b"sequence"], second[b"sequence"]) == (b"1", b"2")
    assert first[b"source"] == b"one"
    assert first[b"trigger_time_us"] == b"%d000" % client.server.clock.now_ms()
    [other] = entries(client, b"kvc:events:two")
    assert other[b"sequence"] == b"1"
    ids = {first[b"id"], second[b"id"], other[b"id"]}
    assert len(ids) == 3
    assert {len(item) for item in ids} == {32}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("KEYS 2 a b", {b"query_type": b"prefix_match", b"keys": [b"a", b"b"]}),
        ("SKIP 1 KEYS 2 a b", {b"keys": [b"a", b"b"], b"block_mask": b"1"}),
        ("MASK 110 KEYS 3 a b c", {b"block_mask": b"2"}),
        ("MASK 101 KEYS 3 a b c", {b"block_mask": pack_list([True, False, True])}),
        ("EXACT NOTOUCH KEYS 1 a", {b"query_type": b"batch_get", b"touch": b"0"}),
        ("WINDOW 1 KEYS 1 a", {b"query_type": b"reverse_roll_sw_match", b"sw_size": b"1"}),
        ("SPECS 1 kv COUNT PACKED 1 ab", {b"location_spec_names": ["kv"], b"keys": [b"a", b"b"]}),
    ],
)
def test_a_lookup_is_an_event(client: Client, line: str, fields: dict[bytes, Any]) -> None:
    client.line(f"KVC.GETLOC one {line}")
    plain = {b"type": b"GetCacheLocation", b"tokens": [], b"block_mask": b"0", b"sw_size": b"0"}
    plain |= {b"location_spec_names": [], b"touch": b"1", b"matched": b"0"}
    event = last(client)
    assert event == plain | {b"query_type": event[b"query_type"], b"keys": event[b"keys"]} | fields


def test_tokens_are_told_beside_the_keys_they_hash_to(client: Client) -> None:
    tokens = b"".join(number.to_bytes(4, "little") for number in (7, 8, 9, 1 << 31, 5))
    client("KVC.GETLOC", "one", "TOKENS", tokens)
    event = last(client)
    assert event[b"tokens"] == [7, 8, 9, 1 << 31, 5]
    assert [len(key) for key in event[b"keys"]] == [8, 8]


def test_a_write_is_two_events_and_a_repeated_finish_none(client: Client) -> None:
    session, _, _ = client.line("KVC.STARTWRITE one TIMEOUT 9 KEYS 3 a b c")
    assert last(client) == {
        b"type": b"StartWriteCache",
        b"write_session_id": session,
        b"keys": [b"a", b"b", b"c"],
        b"tokens": [],
        b"block_mask": b"0",
        b"location_spec_group_names": [],
        b"write_timeout_seconds": b"9",
    }
    for index in (0, 2):
        client("KVC.WRITE", "one", session, index, "12345")
    for _ in range(2):
        assert client("KVC.FINISH", "one", session, "FULLMASK", "101") == [2, 1]
    assert last(client) == {
        b"type": b"FinishWriteCache",
        b"write_session_id": session,
        b"success_block": pack_list([True, False, True]),
    }
    assert len(entries(client)) == 2
    assert client.line("KVC.STARTWRITE one KEYS 1 a")[0] is None
    assert (last(client)[b"write_session_id"], last(client)[b"block_mask"]) == (b"", b"1")


@pytest.mark.parametrize(
    ("outcome", "told"), [("ALL", b"2"), ("NONE", b"0"), ("PREFIX 1", b"1"), ("MASK 10", b"1")]
)
def test_outcomes_are_told_as_masks_of_the_new_keys(
    client: Client, outcome: str, told: bytes
) -> None:
    session, _, _ = client.line("KVC.STARTWRITE one KEYS 2 a b")
    for index in range(2):
        client("KVC.WRITE", "one", session, index, "12345")
    client("KVC.FINISH", "one", session, *outcome.split())
    assert last(client)[b"success_block"] == told


def test_put_remove_and_trim_are_events(client: Client) -> None:
    client.line("KVC.PUT one 2 a 12345 b 12345")
    assert last(client) == {
        b"type": b"PutCache",
        b"keys": [b"a", b"b"],
        b"tokens": [],
        b"stored": b"2",
    }
    client.line("KVC.REMOVE one SKIP 1 KEYS 2 a b")
    removed = {b"keys": [b"a", b"b"], b"block_mask": b"1", b"removed": b"1", b"tokens": []}
    assert last(client) == {b"type": b"RemoveCache", **removed}
    client.line("KVC.TRIM one between 5 7")
    assert last(client) == {
        b"type": b"TrimCache",
        b"strategy": b"BETWEEN",
        b"arguments": pack_list([5, 7]),
        b"trimmed": b"0",
    }


def test_a_put_by_way_of_a_disk_is_an_event_when_it_is_stored(client: Client) -> None:
    client.line("KVC.GROUP CREATE slow STORAGES 1 ssd")
    client.line("KVC.INSTANCE REGISTER far GROUP slow BLOCKTOKENS 2 SPEC kv 5")
    client.line("KVC.PUT far 1 a 12345")
    [event] = entries(client, b"kvc:events:far")
    assert (event[b"type"], event[b"stored"]) == (b"PutCache", b"1")


def test_eviction_expiry_and_sessions_that_time_out_are_events(client: Client) -> None:
    client.line("KVC.GROUP CREATE small QUOTA 20 GRACE 700")
    client.line("KVC.INSTANCE REGISTER tight GROUP small BLOCKTOKENS 2 SPEC kv 5")
    client.line("KVC.PUT tight TTL 1 4 a 12345 b 12345 c 12345 d 12345")
    with pytest.raises(CommandError, match=r"^QUOTA"):
        client.line("KVC.STARTWRITE tight TIMEOUT 1 KEYS 2 x y")
    key = b"kvc:events:tight"
    reclaimed = entries(client, key)[-1]
    assert reclaimed[b"type"] == b"CacheReclaimSubmit"
    assert (reclaimed[b"block_keys"], reclaimed[b"delay_us"]) == ([b"d", b"c"], b"700000")
    client.server.clock.advance(1_000)
    session, _, _ = client.line("KVC.STARTWRITE tight TIMEOUT 1 KEYS 1 z")
    client.server.clock.advance(1_000)
    client.line("KVC.META tight KEYS 0")
    timed_out = entries(client, key)[-1]
    assert (timed_out[b"type"], timed_out[b"write_session_id"]) == (b"FinishWriteCache", session)
    assert timed_out[b"success_block"] == b"0"
    client.server.cache.tick(client.server.clock.now_ms())
    expired = entries(client, key)[-1]
    assert (expired[b"type"], expired[b"block_keys"]) == (b"CacheExpire", [b"b", b"a"])


def test_lookups_are_sampled(client: Client) -> None:
    client.line("CONFIG SET kvc-events-getloc-every 3")
    for _ in range(7):
        client.line("KVC.GETLOC one COUNT KEYS 1 a")
    assert len(entries(client)) == 3
    client.line("CONFIG SET kvc-events-getloc-every 0")
    client.line("KVC.GETLOC one COUNT KEYS 1 a")
    assert len(entries(client)) == 3


def test_a_stream_of_events_holds_so_many_entries(client: Client) -> None:
    client.line("CONFIG SET kvc-events-maxlen 10")
    for _ in range(250):
        client.line("KVC.GETLOC one COUNT KEYS 1 a")
    events = entries(client)
    assert [int(event[b"sequence"]) for event in events] == list(range(241, 251))


def test_where_the_key_holds_something_else_events_are_dropped_and_counted(
    client: Client,
) -> None:
    client("SET", KEY, "mine")
    client.line("KVC.PUT one 1 a 12345")
    assert client.line("KVC.GETLOC one COUNT KEYS 1 a") == 1
    assert client("GET", KEY) == b"mine"
    assert client.line("KVC.STATS")[b"events_dropped"] == 2
    client("SET", KEY, "mine", "PX", "1")
    client.server.clock.advance(10)
    client.line("KVC.GETLOC one COUNT KEYS 1 a")
    [event] = entries(client)
    assert event[b"sequence"] == b"3", "the numbers of dropped events are missing"


def test_where_memory_is_full_events_are_dropped(client: Client) -> None:
    client.server.engine.gates |= Gate.FULL
    client.server.engine.kvc_events.write(client.server.catalog.get_instance(b"one"), b"x", [])
    client.server.engine.gates &= ~Gate.FULL
    stats = client.line("KVC.STATS")
    assert (stats[b"events_dropped"], stats[b"events_written"]) == (1, 0)


def test_a_refused_call_is_no_event(client: Client) -> None:
    for line in ("GETLOC one KEYS 2 a", "FINISH one nobody", "TRIM one BETWEEN 9 1"):
        with pytest.raises(CommandError):
            client.line(f"KVC.{line}")
    assert entries(client) == []


def test_switched_off_nothing_is_written(client: Client) -> None:
    client.line("KVC.PUT one 1 a 12345")
    client.line("CONFIG SET kvc-events no")
    client.line("KVC.PUT one 1 b 12345")
    client.server.clock.advance(1)
    client.line("KVC.REMOVE one KEYS 1 b")
    assert len(entries(client)) == 1


def test_in_a_transaction_events_come_in_order(client: Client) -> None:
    client("MULTI")
    client.line("KVC.REMOVE one KEYS 1 a")
    client.line("KVC.GETLOC one COUNT KEYS 1 a")
    client("EXEC")
    assert [event[b"type"] for event in entries(client)] == [b"RemoveCache", b"GetCacheLocation"]


def test_who_waits_for_the_stream_is_served(tmp_path: Path) -> None:
    bench = Bench()
    server = KvcServer(tmp_path)
    bench.engine.kvc = server.cache

    def ask(transport: ScriptedTransport, line: str) -> bytes:
        return bench.ask(transport, request(*line.split()))

    client, _ = bench.client()
    ask(client, "CONFIG SET kvc-events yes")
    ask(client, "KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 2 SPEC kv 5")
    reader, _ = bench.client()
    assert ask(reader, "XREAD BLOCK 0 STREAMS kvc:events:one $") == b""
    ask(client, "KVC.GETLOC one COUNT KEYS 1 a")
    assert b"GetCacheLocation" in reader.take()
    server.close()
