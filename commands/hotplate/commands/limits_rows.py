"""What the limit commands share: finding buckets and leases, and the rows of their replies.

All of them see one moment, that of the batch (or of EXEC, or of a script): `ctx.engine.now_ns`.
"""

from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError, WrongTypeError
from hotplate.keyspace.bucket import Bucket
from hotplate.keyspace.bucket_entry import FadingEntry
from hotplate.keyspace.bucket_leases import Leases
from hotplate.keyspace.database import NEVER_MS, SHARD_MASK
from hotplate.limits import KEYS_PER_CALL_MAX, NAME_BYTES_MAX
from hotplate.spec.args import parse_int_within, syntax_error
from hotplate.spec.reply import IntegerReply, TupleReply

SINCE: Final = "0.1.0"
GROUP: Final = "limits"
_DIGITS_MAX: Final = 18  # more may not fit in 64 bits
_ZERO: Final = ord("0")
NUMBERS: Final = {b"%d" % number: number for number in range(2048)}  # those that are usual
UNKNOWN: Final = -1  # what remains of a limit that no key tells of

LIMITED_ROW: Final = TupleReply(
    (
        IntegerReply(0, 1),
        IntegerReply(minimum=0),
        IntegerReply(minimum=0),
        IntegerReply(minimum=-2),
        IntegerReply(minimum=-2),
    )
)


def row(limited: int, limit: int, remaining: int, retry: int, reset: int) -> bytes:
    """The frame of one key's verdict."""
    return b"*5\r\n:%d\r\n:%d\r\n:%d\r\n:%d\r\n:%d\r\n" % (
        *(limited, limit, remaining, retry, reset),
    )


def find_entry(ctx: Context, key: bytes) -> FadingEntry | None:
    """The entry of a bucket or of leases; None where there is none or it has faded.

    WrongTypeError for another type.
    """
    db = ctx.db
    entry: Any = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None:
        return None
    if entry.__class__ is not FadingEntry or entry.own_ms != NEVER_MS:
        entry = db.lookup_write(key, ctx.now_ms)
        if entry is None:
            return None
        if entry.__class__ is not FadingEntry:
            raise WrongTypeError
    value = entry.value
    now_ns = ctx.engine.now_ns
    if value.__class__ is Bucket:
        if value.mark > now_ns * value.rate.count:
            return entry
    elif value.__class__ is not Leases:
        raise WrongTypeError
    if entry.own_ms and value.is_idle(now_ns):
        db.expire(key)
        return None
    return entry


def number_of(text: bytes) -> int:
    """A whole number from 0 on; -1: it is unusual, or none."""
    number = NUMBERS.get(text)
    if number is not None:
        return number
    if text.isdigit() and len(text) <= _DIGITS_MAX and text[0] != _ZERO:
        return int(text)
    return -1


def read_count(text: bytes, name: str) -> int:
    """A whole number from 0 on; the error names it."""
    number = number_of(text)
    return number if number >= 0 else parse_int_within(text, name, 0)


def read_keys(argv: list[bytes], position: int) -> list[bytes]:
    """`numkeys key ...` from a position in argv on, each key once."""
    count = parse_int_within(argv[position], "numkeys", 1, KEYS_PER_CALL_MAX)
    keys = argv[position + 1 : position + 1 + count]
    if len(keys) < count:
        raise syntax_error()
    if count > 1 and len(set(keys)) < count:
        raise CommandError("a key is named twice")
    return keys


def check_id(rid: bytes) -> bytes:
    """A reservation's id."""
    if not 1 <= len(rid) <= NAME_BYTES_MAX:
        raise CommandError(f"a reservation's id has 1 to {NAME_BYTES_MAX} bytes, not {len(rid)}")
    return rid
