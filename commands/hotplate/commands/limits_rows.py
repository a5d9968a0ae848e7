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
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.reply import IntegerReply, TupleReply

SINCE: Final = "0.1.0"
GROUP: Final = "limits"
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
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    if entry is None:
        return None
    if entry.__class__ is FadingEntry and entry.own_ms == NEVER_MS:  # type: ignore[attr-defined]
        bucket: Any = entry.value
        if bucket.__class__ is Bucket and bucket.mark > ctx.engine.now_ns * bucket.rate.count:
            return entry  # type: ignore[return-value]  # the usual case, without haste below
    if not isinstance(entry, FadingEntry) or entry.own_ms != NEVER_MS:
        entry = db.lookup_write(key, ctx.now_ms)
        if entry is None:
            return None
    value = entry.value
    if not isinstance(entry, FadingEntry) or not isinstance(value, (Bucket, Leases)):
        raise WrongTypeError
    if entry.own_ms and value.is_idle(ctx.engine.now_ns):
        db.expire(key)
        return None
    return entry


def take_keys(args: Args) -> list[bytes]:
    """`numkeys key ...`, each key once."""
    keys = args.take_many(args.take_int_within("numkeys", 1, KEYS_PER_CALL_MAX))
    if len(keys) > 1 and len(set(keys)) < len(keys):
        raise CommandError("a key is named twice")
    return keys


def take_id(args: Args) -> bytes:
    """A reservation's id."""
    rid = args.take()
    if not 1 <= len(rid) <= NAME_BYTES_MAX:
        raise CommandError(f"a reservation's id has 1 to {NAME_BYTES_MAX} bytes, not {len(rid)}")
    return rid


def take_word(args: Args, word: bytes) -> None:
    """Exactly `word`."""
    if not args.accept(word):
        raise syntax_error()
