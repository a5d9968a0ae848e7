"""Events of the KV cache as a trace."""

from hotplate.optimizer.events import Event, requests_of
from hotplate.optimizer.simulate import ratios, simulate
from hotplate.optimizer.trace import Request, numbered
from hotplate.wire.events import pack_list


def lookup(
    *keys: bytes, kind: bytes = b"prefix_match", touch: bytes = b"1", tokens: int = 0
) -> Event:
    return {
        b"type": b"GetCacheLocation",
        b"query_type": kind,
        b"touch": touch,
        b"keys": pack_list(keys),
        b"tokens": pack_list(list(range(tokens))),
    }


def write(*keys: bytes, kind: bytes = b"StartWriteCache") -> Event:
    return {b"type": kind, b"keys": pack_list(keys), b"tokens": pack_list([])}


def test_a_lookup_is_a_request_and_its_write_belongs_to_it() -> None:
    events = [lookup(b"a", b"b", tokens=30), write(b"a", b"b"), lookup(b"a", b"c")]
    assert requests_of(events, 16) == [Request(30, [0, 1]), Request(32, [0, 2])]


def test_what_a_write_goes_beyond_its_lookup_was_not_asked_for() -> None:
    events = [lookup(b"a", b"b"), lookup(b"x"), write(b"a", b"b", b"c", b"d"), write(b"x")]
    requests = requests_of(events, 16)
    assert requests == [Request(32, [0, 1, 3, 4], 2), Request(16, [2])]
    assert [request.asked for request in requests] == [2, 1]


def test_a_write_that_nothing_was_asked_before_asks_for_nothing() -> None:
    events = [
        write(b"a", b"b", kind=b"PutCache"),
        lookup(b"a", b"b"),
        write(b"a", b"c"),  # another chain: the lookup's write may have come without an event
        write(b"a", b"b"),
    ]
    assert requests_of(events, 16) == [
        Request(0, [0, 1], 2),
        Request(32, [0, 1]),
        Request(0, [0, 2], 2),
        Request(0, [0, 1], 2),
    ]


def test_other_events_are_left_out() -> None:
    events = [
        lookup(b"a", kind=b"batch_get"),
        lookup(b"a", touch=b"0"),
        lookup(),
        {b"type": b"FinishWriteCache", b"write_session_id": b"s", b"success_block": b"1"},
        {b"type": b"CacheReclaimSubmit", b"block_keys": pack_list([b"a"]), b"delay_us": b"0"},
    ]
    assert requests_of(events, 16) == []


def test_ratios_count_what_was_asked_for() -> None:
    """An answer that was stored is found by the next turn; it is no miss of its own."""
    turns = [lookup(b"a"), write(b"a", b"b"), lookup(b"a", b"b", b"c"), write(b"a", b"b", b"c")]
    trace = numbered(requests_of(turns, 16), 16)
    found = simulate(trace, "lru", 10).matched
    assert found == [0, 2]
    assert ratios(trace, found).block == 2 / 4
    repeated = numbered(requests_of([*turns, lookup(b"a"), write(b"a", b"b")], 16), 16)
    found = simulate(repeated, "lru", 10).matched
    assert found == [0, 2, 2]  # of which one was asked for
    assert ratios(repeated, found).block == 3 / 5
