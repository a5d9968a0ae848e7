"""The hash itself: against a naive model, with times, small and spread."""

from hypothesis import given
from hypothesis import strategies as st

from hotplate.keyspace.deadlines import NEVER_MS, Deadlines
from hotplate.keyspace.hash import HASHTABLE, NAMES_MAX, Hash
from hotplate.keyspace.sharded import SPREAD_FROM, ShardedDict

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "time", "time", "persist", "expire", "copy"]),
        st.integers(0, 6),
        st.integers(0, 20),
    ),
    max_size=80,
)


@given(STEPS)
def test_it_does_what_two_dicts_do(steps: list[tuple[str, int, int]]) -> None:
    value = Hash()
    values: dict[bytes, bytes] = {}
    times: dict[bytes, int] = {}
    now_ms = 0
    for action, number, amount in steps:
        field = b"%d" % number
        if action == "put":
            assert value.put(field, b"%d" % amount, {}) is (field not in values)
            values[field] = b"%d" % amount
            times.pop(field, None)
        elif action == "remove":
            assert value.remove(field) is (values.pop(field, None) is not None)
            times.pop(field, None)
        elif action == "time" and field in values:
            times[field] = now_ms + amount
            value.set_deadline(field, now_ms + amount)
        elif action == "persist":
            assert value.persist(field) is (times.pop(field, None) is not None)
        elif action == "expire":
            now_ms += amount
            due = {name for name, at_ms in times.items() if at_ms < now_ms}
            gone = value.expire_named(now_ms, [field])
            assert gone == ([field] if field in due else [])
            gone += value.expire_fields(now_ms, 100)
            assert set(gone) == due
            assert len(gone) == len(due)
            for name in due:
                del values[name], times[name]
        elif action == "copy":
            value = value.copy()
        assert dict(value.table) == values
        assert all(value.deadline(name) == times.get(name) for name in values)
        assert value.first_ms <= min(times.values(), default=NEVER_MS)


def test_due_fields_go_in_their_order_and_no_more_than_asked() -> None:
    value = Hash()
    for number in range(20):
        value.put(b"%d" % number, b"v", {})
        value.set_deadline(b"%d" % number, 100 - number)
    assert value.expire_fields(200, 3) == [b"19", b"18", b"17"]
    assert value.first_ms == 84
    assert len(value) == 17


def test_times_that_are_put_off_or_set_anew_leave_no_lasting_trace() -> None:
    deadlines = Deadlines()
    for at_ms in range(1000, 3000):
        deadlines.set(b"put off", at_ms)
        deadlines.discard(b"set anew")
        deadlines.set(b"set anew", at_ms)
    assert len(deadlines) == 2
    assert len(deadlines._queue) < 50
    assert deadlines.pop_due(2999, 10) == []
    assert sorted(deadlines.pop_due(3000, 10)) == [b"put off", b"set anew"]
    assert deadlines.first_ms == NEVER_MS


def test_a_large_hash_is_spread_and_its_memory_given_back_in_slices() -> None:
    size = SPREAD_FROM + 500
    value = Hash()
    value.name = HASHTABLE
    value.put_many([b"%d" % (number // 2) for number in range(2 * size)], {})
    assert isinstance(value.table, ShardedDict)
    for number in range(size):
        value.set_deadline(b"%d" % number, number)
    assert value.expire_fields(10, 100) == [b"%d" % number for number in range(10)]
    other = value.copy()
    while other:
        before = len(other)
        other.shed(1000)
        assert 0 < before - len(other) <= 1000
    assert len(value) == size - 10


def test_names_are_forgotten_before_they_become_too_many() -> None:
    names: dict[bytes, bytes] = {}
    for number in range(NAMES_MAX * 2):
        Hash().put(b"%d" % number, b"v", names)
        assert len(names) <= NAMES_MAX


def test_the_memory_is_judged_by_a_sample() -> None:
    value = Hash()
    value.put_many([b"x" * 10] * 2, {})
    for number in range(100):
        value.put(b"%d" % number, b"v" * 100, {})
    assert abs(value.sample_bytes(5) / value.sample_bytes(0) - 1) < 0.3
    bare = value.sample_bytes(0)
    value.set_deadline(b"1", 5)
    assert value.sample_bytes(0) > bare
    assert Hash().sample_bytes(5) > 0
