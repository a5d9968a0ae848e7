"""What the commands on sorted sets share: scores and ranges in text, and replies with scores.

Must know no command. Parsers raise CommandError and change nothing.
"""

from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.keyspace.sorted_set_range import LexRange, ScoreRange
from hotplate.resp.encoder import double_text, double_texts
from hotplate.resp.types import Double, Reply
from hotplate.spec.args import NOT_A_FLOAT, read_float
from hotplate.spec.reply import (
    ArrayReply,
    BulkReply,
    DoubleReply,
    IntegerReply,
    NullReply,
    TupleReply,
    one_of,
)

NAN_SCORE: Final = "resulting score is not a number (NaN)"
_PLAIN_BYTES_MAX: Final = 24  # of a number that float() reads as strtod does, without overflow
_PLAIN: Final = b"0123456789.-"
_SPACES: Final = b" \t\n\v\f\r"

COUNT: Final = IntegerReply(minimum=0)
MEMBERS: Final = ArrayReply(BulkReply())
SCORE_OR_NULL: Final = one_of(DoubleReply(), NullReply())
PAIR: Final = TupleReply((BulkReply(), DoubleReply()))
# pairs in RESP3, flat in RESP2, where a score is a bulk string too
PAIRS: Final = one_of(ArrayReply(PAIR), MEMBERS)


def parse_score(text: bytes, message: str = NOT_A_FLOAT) -> float:
    """A score or a weight: any double but NaN; -0 is 0."""
    if len(text) <= _PLAIN_BYTES_MAX and not text.translate(None, _PLAIN):
        try:
            return float(text) + 0.0
        except ValueError:
            pass
    value = read_float(text)
    if value is None:
        raise CommandError(message)
    return value + 0.0


def parse_score_range(low: bytes, high: bytes) -> ScoreRange:
    """A range of scores; `(` before an end leaves it out."""
    if low.isdigit() and high.isdigit() and len(low) + len(high) <= _PLAIN_BYTES_MAX:
        return float(low), float(high), False, False
    low_open = low[:1] == b"("
    high_open = high[:1] == b"("
    low_score = _parse_end(low[1:] if low_open else low)
    high_score = _parse_end(high[1:] if high_open else high)
    return low_score, high_score, low_open, high_open


def _parse_end(text: bytes) -> float:
    """The end of a range, read as C's strtod does: nothing is zero, too much is infinite."""
    if text and len(text) <= _PLAIN_BYTES_MAX and not text.translate(None, _PLAIN):
        try:
            return float(text)
        except ValueError:
            pass
    text = text.partition(b"\0")[0].lstrip(_SPACES)
    value = read_float(text) if text else 0.0
    if value is None:
        value = _read_extreme(text)
    if value is None:
        raise CommandError("min or max is not a float")
    return value


def _read_extreme(text: bytes) -> float | None:
    """A number too large or too small for a double, as the double next to it."""
    if text.strip(b"0123456789.eE+-") or not text.strip(b"eE+-"):
        return None
    try:
        return float(text)
    except ValueError:
        return None


def parse_lex_range(low: bytes, high: bytes) -> LexRange:
    """A range of members: `[x`, `(x`, `-` or `+` at each end."""
    low_member, low_open = _parse_lex_end(low)
    high_member, high_open = _parse_lex_end(high)
    reversed_ends = low[:1] == b"+" or high[:1] == b"-"
    return LexRange(low_member, high_member, low_open, high_open, reversed_ends)


def _parse_lex_end(text: bytes) -> tuple[bytes | None, bool]:
    first = text[:1]
    if first in (b"[", b"("):
        return text[1:], first == b"("
    if first in (b"-", b"+") and text[1:2] in (b"", b"\0"):
        return None, False
    raise CommandError("min or max not valid string range item")


def pairs_reply(ctx: Context, members: list[bytes], scores: list[float]) -> Reply:
    """Members with scores as the protocol has them: pairs in RESP3, flat in RESP2."""
    if ctx.resp == 2:
        flat: list[bytes] = [b""] * (2 * len(members))
        flat[::2] = members
        flat[1::2] = double_texts(scores)
        return flat
    return nested_reply(members, scores)


def nested_reply(members: list[bytes], scores: list[float]) -> list[Any]:
    """Members with scores as pairs."""
    return [[member, Double(score)] for member, score in zip(members, scores, strict=True)]


def score_reply(ctx: Context, score: float) -> Reply:
    """One score."""
    return double_text(score) if ctx.resp == 2 else Double(score)


def keep_packed(ctx: Context, value: SortedSet, member: bytes) -> None:
    """After `member` was added: note when the set has outgrown the small encoding."""
    config = ctx.engine.config
    entries_max = config.zset_max_listpack_entries
    if len(value) > entries_max or len(member) > config.zset_max_listpack_value:
        value.packed = False


def store_result(ctx: Context, key: bytes, value: SortedSet, event: str) -> Reply:
    """Make `value` the key's, or remove the key where it is empty; how many members there are."""
    db = ctx.db
    db.lookup_write(key, ctx.now_ms)  # a key whose time has come expires first
    if len(value):
        config = ctx.engine.config
        value.pack(config.zset_max_listpack_entries, config.zset_max_listpack_value)
        db.delete(key)
        db.assign(key, value, ctx.now_ms)
        db.changed(key, event)
    elif db.delete(key):
        db.changed(key, "del")
    return len(value)
