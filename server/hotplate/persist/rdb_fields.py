"""State that RDB has no form for, as rows of strings in fields that Redis skips (FORMAT.md).

Each `*_row` gives the value of a field or None where there is nothing to say; each `read_*` takes
what `read_row` made of it. Reading raises RdbError for rows that no writer makes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hotplate.keyspace.bucket import Bucket, BucketState
from hotplate.keyspace.bucket_entry import FadingEntry
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.bucket_ledger import HoldState
from hotplate.keyspace.bucket_queue import BucketQueue
from hotplate.keyspace.bucket_timebase import Timebase
from hotplate.keyspace.entry import Entry
from hotplate.keyspace.limits_state import texts_of, value_of_texts
from hotplate.keyspace.rdb import PlainHash
from hotplate.keyspace.rdb_bytes import Cursor, RdbError, pack_string
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_group import Policy
from hotplate.keyspace.stream_producers import Producers

VERSION: Final = 1
SUMS: Final = b"hotplate-sums"
SUM: Final = b"hotplate-sum"
BUCKET: Final = b"hotplate-bucket"
LEASES: Final = b"hotplate-leases"
QUEUE: Final = b"hotplate-queue"
STREAM: Final = b"hotplate-stream"
FIELDS: Final = b"hotplate-fields"
_HOLD_COLUMNS: Final = 8
_NS_PER_MS: Final = 1_000_000
_DIGITS_MAX: Final = 60  # no number here is longer


def _row(items: Iterable[bytes | int]) -> bytes:
    return b"".join(
        pack_string(item if isinstance(item, bytes) else b"%d" % item) for item in items
    )


def read_row(value: bytes) -> list[bytes]:
    """The strings of a row, the key first."""
    cursor = Cursor(value)
    items: list[bytes] = []
    while cursor.at < len(value):
        items.append(cursor.string())
    if not items:
        raise RdbError("a field without a key")
    return items


def _number(text: bytes) -> int:
    if len(text) > _DIGITS_MAX or not text.removeprefix(b"-").isdigit():
        raise RdbError(f"{text[:_DIGITS_MAX]!r} is no number")
    return int(text)


# -- buckets and leases ----------------------------------------------------------------------------


def fading_row(key: bytes, entry: Entry) -> tuple[bytes, bytes] | None:
    """The field's name and value for a key that holds a bucket or leases; None for others."""
    value = entry.value
    if not isinstance(entry, FadingEntry) or not isinstance(value, (Bucket, Leases)):
        return None
    timebase = entry.timebase
    wall_ns = (timebase.now_ms + 1) * _NS_PER_MS
    if isinstance(value, Leases):
        saved_ns, limit, holds = value.dump(timebase.now_ns, wall_ns)
        counts = (value.admitted, value.limited)
        return LEASES, _row((key, entry.own_ms, saved_ns, limit, *counts, *_held(holds)))
    *state, slack, holds = value.dump(timebase.now_ns, wall_ns)
    own_slack = b"" if slack is None else slack
    calls = (value.admitted, value.limited, value.refunded)
    return BUCKET, _row((key, entry.own_ms, *state, own_slack, *calls, *_held(holds)))


def _held(holds: tuple[HoldState, ...]) -> Iterator[bytes | int]:
    for hold in holds:
        yield from hold


def read_fading(name: bytes, row: list[bytes], timebase: Timebase) -> FadingEntry:
    """The entry of a key that holds a bucket or leases, drained for the time since."""
    fixed = 6 if name == LEASES else 11
    if len(row) < fixed or (len(row) - fixed) % _HOLD_COLUMNS:
        raise RdbError(f"{name.decode()} has {len(row)} columns")
    numbers = [_number(text) if text else None for text in row[1:fixed]]
    if None in (*numbers[:6], *numbers[7:]) or (name == LEASES and None in numbers):
        raise RdbError(f"{name.decode()} lacks a number")
    own_ms, *state = [number or 0 for number in numbers]
    holds = tuple(_read_hold(row[at : at + _HOLD_COLUMNS]) for at in range(fixed, len(row), 8))
    wall_ns = timebase.now_ms * _NS_PER_MS
    value: Bucket | Leases
    if name == LEASES:
        value = Leases.load((state[0], state[1], holds), timebase.now_ns, wall_ns)
        value.admitted, value.limited = state[2:]
    else:
        saved_ns, level, limit, count, period_ns, _, *counts = state
        if period_ns <= 0 or min(level, limit, count) < 0:
            raise RdbError("a bucket with an impossible rate")
        slack = numbers[6]
        bucket_state: BucketState = (saved_ns, level, limit, count, period_ns, slack, holds)
        value = Bucket.load(bucket_state, timebase.now_ns, wall_ns)
        value.admitted, value.limited, value.refunded = counts
    entry = FadingEntry(value, timebase, timebase.now_ms)
    entry.own_ms = own_ms
    return entry


def _read_hold(columns: list[bytes]) -> HoldState:
    rid, *numbers = columns
    cost, floor, slack, left_ns, limit, remaining, reset_ms = map(_number, numbers)
    return rid, cost, floor, slack, left_ns, limit, remaining, reset_ms


# -- paced queues ----------------------------------------------------------------------------------


def queue_row(key: bytes, entry: Entry, moment: Timebase | None) -> bytes | None:
    """The field's value for a key that holds a paced queue; None for others.

    Its spans count from `moment`, or else from now.
    """
    queue = entry.value
    if not isinstance(queue, BucketQueue):
        return None
    timebase = queue.timebase if moment is None else moment
    assert timebase is not None, "a queue that no command made"
    return _row((key, entry.expire_at_ms, *texts_of(queue, timebase)))


def read_queue(row: list[bytes], timebase: Timebase) -> Entry:
    """The entry of a key that holds a paced queue."""
    if len(row) < 2:
        raise RdbError(f"{QUEUE.decode()} has {len(row)} columns")
    value = value_of_texts(row[2:], timebase)
    if not isinstance(value, BucketQueue):
        raise RdbError(f"{QUEUE.decode()} with something else")
    return Entry(value, _number(row[1]), timebase.now_ms)


# -- streams ---------------------------------------------------------------------------------------


def stream_row(key: bytes, stream: Stream) -> bytes | None:
    """What the stream's own form leaves out."""
    row: list[bytes | int] = [key]
    for name, group in stream.groups.items():
        policy = group.policy
        if policy is not None:
            spans = (policy.visibility_ms, policy.deliveries_max, policy.dead)
            row += [b"policy", name, *spans, policy.backoff_ms, policy.backoff_max_ms]
        for consumer in group.consumers.values():
            if consumer.active_ms != consumer.seen_ms:
                row += [b"active", name, consumer.name, consumer.active_ms]
    memory = stream.producers
    if memory is not None:
        counts = (memory.duration_s, memory.size_max, memory.added, memory.duplicates)
        row += [b"producers", *counts]
        for producer, messages in memory.producers.items():
            row += [b"producer", producer, len(messages)]
            for message, (entry_id, added_ms) in messages.items():
                row += [message, entry_id, added_ms]
    return _row(row) if len(row) > 1 else None


def read_stream_row(row: list[bytes], stream: Stream) -> None:
    """Give a stream what `stream_row` told of it."""
    items = iter(row[1:])
    try:
        for kind in items:
            if kind == b"policy":
                _read_policy(items, stream)
            elif kind == b"active":
                group, consumer = stream.groups[next(items)], next(items)
                group.consumers[consumer].active_ms = _number(next(items))
            elif kind == b"producers":
                memory = stream.producers = Producers()
                memory.configure(_number(next(items)), _number(next(items)))
                memory.added, memory.duplicates = _number(next(items)), _number(next(items))
            elif kind == b"producer" and stream.producers is not None:
                _read_producer(items, stream.producers)
            else:
                raise RdbError(f"{STREAM.decode()} with {kind[:_DIGITS_MAX]!r}")
    except (StopIteration, KeyError) as error:
        raise RdbError(f"{STREAM.decode()} that does not belong to its stream") from error


def _read_policy(items: Iterator[bytes], stream: Stream) -> None:
    group = stream.groups[next(items)]
    visibility_ms, deliveries_max = _number(next(items)), _number(next(items))
    dead = next(items)
    backoff_ms, backoff_max_ms = _number(next(items)), _number(next(items))
    group.policy = Policy(visibility_ms, deliveries_max, dead, backoff_ms, backoff_max_ms)


def _read_producer(items: Iterator[bytes], memory: Producers) -> None:
    name = next(items)
    for _ in range(_number(next(items))):
        message, entry_id, added_ms = next(items), next(items), next(items)
        memory.restore(name, message, _number(entry_id), _number(added_ms))


# -- hashes ----------------------------------------------------------------------------------------


def fields_row(key: bytes, expiries_ms: Mapping[bytes, int]) -> bytes | None:
    """When fields of a hash expire."""
    row: list[bytes | int] = [key]
    for name, expire_at_ms in expiries_ms.items():
        row += [name, expire_at_ms]
    return _row(row) if len(row) > 1 else None


def read_fields_row(row: list[bytes], value: PlainHash) -> None:
    """Let fields of a hash expire."""
    if len(row) % 2 == 0:
        raise RdbError(f"{FIELDS.decode()} with a field without a time")
    for name, expire_at_ms in zip(row[1::2], row[2::2], strict=True):
        if name not in value.fields:
            raise RdbError(f"{FIELDS.decode()} with a field that is not there")
        value.expiries_ms[name] = _number(expire_at_ms)
