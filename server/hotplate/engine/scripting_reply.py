"""What a command answered, as a script sees it.

    bytes, integers        themselves               status    {ok=text}
    nil                    false; nil in RESP3      error     {err=text}
    array                  a table                  RESP3's   {map=...} {set=...} {double=...} ...

Tables are given as dicts and lists, for the runtime to turn into Lua's. Knows no Lua.
"""

from typing import Any, Final

from hotplate.errors import CommandError
from hotplate.resp.encoder import double_text
from hotplate.resp.types import (
    Bool,
    Double,
    Map,
    NullArray,
    Payload,
    Payloads,
    Push,
    Raw,
    Set,
    Simple,
    Verbatim,
)

_LINE_END: Final = b"\r\n"


def to_lua(reply: Any, resp: int) -> Any:
    """The value, or the dict or list that becomes a table. `resp` is what the script asked for."""
    kind = type(reply)
    if kind is bytes or kind is int:
        return reply
    if reply is None or kind is NullArray:
        return None if resp == 3 else False
    if kind is Raw:
        return _Frames(reply, resp).next()
    if kind in (list, tuple, Payloads, Push):
        return _array([to_lua(item, resp) for item in reply])
    if kind is Payload:
        text = b"".join(reply.views)
        reply.release()
        return text
    if kind is Simple:
        return {b"ok": bytes(reply)}
    if isinstance(reply, CommandError):
        return {b"err": reply.frame[1:-2]}
    return _resp3_value(reply, kind, resp)


def _resp3_value(reply: Any, kind: type, resp: int) -> Any:
    if kind is Double:
        return {b"double": float(reply)} if resp == 3 else double_text(reply)
    if kind is Bool:
        return bool(reply.value) if resp == 3 else int(reply.value)
    if kind is Verbatim:
        if resp == 2:
            return bytes(reply.text)
        return {b"verbatim_string": {b"format": reply.format, b"string": bytes(reply.text)}}
    if kind is Map:
        pairs = [(to_lua(key, resp), to_lua(value, resp)) for key, value in reply.items()]
        if resp == 3:
            return {b"map": {_key(key): value for key, value in pairs}}
        return _array([item for pair in pairs for item in pair])
    if kind is Set:
        members = [to_lua(item, resp) for item in reply]
        return {b"set": dict.fromkeys(map(_key, members), True)} if resp == 3 else _array(members)
    raise TypeError(f"not a reply: {reply!r:.100} of type {kind.__name__}")


def _key(value: Any) -> Any:
    """A member as a table's key: a status is its text."""
    return value.get(b"ok") if isinstance(value, dict) else value


def _array(items: list[Any]) -> Any:
    """A list; where nils leave gaps, a dict of what is there."""
    if None not in items:
        return items
    return {index: item for index, item in enumerate(items, 1) if item is not None}


class _Frames:
    """Reads complete frames, those of a Raw reply."""

    def __init__(self, data: bytes, resp: int) -> None:
        self._data = data
        self._at = 0
        self._resp = resp

    def next(self) -> Any:
        """The next value."""
        end = self._data.index(_LINE_END, self._at)
        kind, line = self._data[self._at : self._at + 1], self._data[self._at + 1 : end]
        self._at = end + 2
        if kind == b"+":
            return {b"ok": line}
        if kind == b"-":
            return {b"err": line}
        if kind == b":":
            return int(line)
        if kind == b"_" or line == b"-1":
            return None if self._resp == 3 else False
        if kind in (b"$", b"="):
            text = self._data[self._at : self._at + int(line)]
            self._at += int(line) + 2
            if kind == b"=":
                return to_lua(Verbatim(text[4:], text[:3]), self._resp)
            return text
        if kind == b",":
            return to_lua(Double(line), self._resp)
        if kind == b"#":
            return to_lua(Bool(line == b"t"), self._resp)
        if kind == b"(":
            return {b"big_number": line} if self._resp == 3 else line
        return self._aggregate(kind, int(line))

    def _aggregate(self, kind: bytes, count: int) -> Any:
        if kind == b"%":
            pairs = [(self.next(), self.next()) for _ in range(count)]
            if self._resp == 3:
                return {b"map": {_key(key): value for key, value in pairs}}
            return _array([item for pair in pairs for item in pair])
        items = [self.next() for _ in range(count)]
        if kind == b"~" and self._resp == 3:
            return {b"set": dict.fromkeys(map(_key, items), True)}
        return _array(items)


def size_of(value: Any) -> int:
    """About how many bytes Lua needs for what `to_lua` gave; rather too many."""
    if isinstance(value, bytes):
        return len(value) + 64
    if isinstance(value, list):
        return 128 + sum(map(size_of, value)) + 32 * len(value)
    if isinstance(value, dict):
        return 128 + sum(size_of(key) + size_of(item) + 80 for key, item in value.items())
    return 32
