"""Checks raw reply frames against the schemas that commands declare, in both protocols."""

import re
from dataclasses import dataclass
from typing import Any

from hotplate.spec import reply as schemas
from hotplate.spec.reply import ReplySchema


@dataclass(frozen=True, slots=True)
class Frame:
    """One value as it stood on the wire: the type byte, and bytes, a number or inner frames."""

    kind: str
    value: Any


def parse_frame(data: bytes, at: int = 0) -> tuple[Frame, int]:
    """The frame that begins at `at`, and where the next one does."""
    end = data.index(b"\r\n", at)
    kind, head, at = chr(data[at]), data[at + 1 : end], end + 2
    if kind in "+-,(#":
        return Frame(kind, head), at
    if kind == ":":
        return Frame(kind, int(head)), at
    if kind == "_":
        return Frame("null", None), at
    count = int(head)
    if count < 0:
        return Frame("null", None), at
    if kind in "$=":
        assert data[at + count : at + count + 2] == b"\r\n", "a bulk string without its end"
        return Frame(kind, data[at : at + count]), at + count + 2
    assert kind in "*~%>", f"unknown type {kind!r}"
    items: list[Frame] = []
    for _ in range(count * 2 if kind == "%" else count):
        item, at = parse_frame(data, at)
        items.append(item)
    return Frame(kind, items), at


def check_reply(schema: ReplySchema | None, data: bytes, resp: int) -> None:
    """AssertionError unless `data` is exactly one frame and fits; error replies fit anything."""
    frame, end = parse_frame(data)
    while end < len(data):
        following, end = parse_frame(data, end)
        is_message = isinstance(schema, schemas.MessagesReply) and following.kind == frame.kind
        assert is_message or following.kind == ">", "more than one frame"
    wrong = None if frame.kind == "-" else mismatch(schema, frame, resp)
    assert wrong is None, wrong


def check_replies(expected: list[ReplySchema | None], data: bytes, resp: int) -> None:
    """The same for what EXEC answers: the replies of its commands, or nil, or an error."""
    frame, _ = parse_frame(data)
    if frame.kind == "*":
        for schema, inner in zip(expected, frame.value, strict=True):
            wrong = None if inner.kind == "-" else mismatch(schema, inner, resp)
            assert wrong is None, wrong
    else:
        assert frame.kind in ("-", "null")


def mismatch(schema: ReplySchema | None, frame: Frame, resp: int) -> str | None:
    """What of `frame` does not fit, or None."""
    match schema:
        case None | schemas.AnyReply():
            return None
        case schemas.OneOfReply(options):
            wrongs = [mismatch(option, frame, resp) for option in options]
            return None if None in wrongs else f"none of: {'; '.join(map(str, wrongs))}"
        case schemas.ArrayReply(item):
            return _items(frame, "*", item, resp)
        case schemas.MessagesReply():
            return _items(frame, ">" if resp == 3 else "*", None, resp)
        case schemas.SetReply(item):
            return _items(frame, "~" if resp == 3 else "*", item, resp)
        case schemas.TupleReply(items):
            if frame.kind != "*" or len(frame.value) != len(items):
                return f"{frame.kind} is no array of {len(items)}"
            wrongs = [mismatch(*pair, resp) for pair in zip(items, frame.value, strict=True)]
            return next((wrong for wrong in wrongs if wrong is not None), None)
        case schemas.MapReply(value, key):
            return _map(frame, key or schemas.BulkReply(), value, resp)
    return _scalar(schema, frame, resp)


def _scalar(schema: ReplySchema, frame: Frame, resp: int) -> str | None:
    kinds = {
        schemas.SimpleReply: "+",
        schemas.BulkReply: "$",
        schemas.IntegerReply: ":",
        schemas.DoubleReply: "," if resp == 3 else "$",
        schemas.BoolReply: "#" if resp == 3 else ":",
        schemas.VerbatimReply: "=" if resp == 3 else "$",
        schemas.NullReply: "null",
    }
    wanted = kinds[type(schema)]
    if frame.kind != wanted:
        return f"{frame.kind} instead of {wanted}: {frame.value!r}"
    fits = True
    match schema:
        case schemas.SimpleReply(text):
            fits = text is None or frame.value == text.encode()
        case schemas.BulkReply(pattern):
            fits = pattern is None or re.fullmatch(pattern, frame.value, re.DOTALL) is not None
        case schemas.IntegerReply(minimum, maximum):
            fits = (minimum is None or frame.value >= minimum) and (
                maximum is None or frame.value <= maximum
            )
        case schemas.DoubleReply():
            fits = _is_double(frame.value)
        case schemas.BoolReply():
            fits = frame.value in ((b"t", b"f") if resp == 3 else (0, 1))
    return None if fits else f"{frame.value!r} does not fit {schema}"


def _is_double(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _items(frame: Frame, kind: str, item: ReplySchema | None, resp: int) -> str | None:
    if frame.kind != kind:
        return f"{frame.kind} instead of {kind}"
    wrongs = (mismatch(item, inner, resp) for inner in frame.value)
    return next((wrong for wrong in wrongs if wrong is not None), None)


def _map(frame: Frame, key: ReplySchema, value: ReplySchema | None, resp: int) -> str | None:
    if frame.kind != ("%" if resp == 3 else "*") or len(frame.value) % 2:
        return f"{frame.kind} is no map"
    for at in range(0, len(frame.value), 2):
        wrong = mismatch(key, frame.value[at], resp)
        wrong = wrong or mismatch(value, frame.value[at + 1], resp)
        if wrong is not None:
            return wrong
    return None
