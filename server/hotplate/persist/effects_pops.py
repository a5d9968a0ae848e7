"""Effects of commands that take by chance, or after a wait: SPOP, BLPOP and its like.

A blocked command is translated when it is served, with the reply that its client gets.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from hotplate.engine.context import Context
from hotplate.resp.types import NullArray, Raw

Requests: TypeAlias = list[list[bytes]]
Translate: TypeAlias = Callable[[Context, list[bytes], Any], Requests]


def _spop(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    members = reply if isinstance(reply, list) else [reply]
    return [[b"SREM", argv[1], *members]]


def _key_of(reply: Any) -> bytes:
    """The key of a popped pair, which comes as frames: `*2`, the key, the element."""
    if type(reply) is not Raw:
        return cast("bytes", reply[0])
    start = reply.index(b"\r\n", 4) + 2
    return bytes(reply[start : start + int(reply[5 : start - 2])])


def _blpop(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return [[b"LPOP", _key_of(reply)]]


def _brpop(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return [[b"RPOP", _key_of(reply)]]


def _blmove(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return [[b"LMOVE", *argv[1:5]]]


def _brpoplpush(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return [[b"RPOPLPUSH", *argv[1:3]]]


def _where(argv: list[bytes]) -> bytes:
    """LEFT, RIGHT, MIN or MAX of BLMPOP and BZMPOP: behind the keys."""
    return argv[3 + int(argv[2])]


def _blmpop(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    word = b"LPOP" if _where(argv).upper() == b"LEFT" else b"RPOP"
    return [[word, reply[0], b"%d" % len(reply[1])]]


def _bzpopmin(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return [[b"ZPOPMIN", reply[0]]]


def _bzpopmax(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    return [[b"ZPOPMAX", reply[0]]]


def _bzmpop(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
    word = b"ZPOPMIN" if _where(argv).upper() == b"MIN" else b"ZPOPMAX"
    return [[word, reply[0], b"%d" % len(reply[1])]]


def _where_taken(translate: Translate) -> Translate:
    """Nothing was taken where the key's time had come: that is logged by itself."""

    def effect(ctx: Context, argv: list[bytes], reply: Any) -> Requests:
        if reply is None or isinstance(reply, NullArray) or reply == []:
            return []
        return translate(ctx, argv, reply)

    return effect


_TAKEN: Final[Mapping[str, Translate]] = {
    "spop": _spop,
    "blpop": _blpop,
    "brpop": _brpop,
    "blmove": _blmove,
    "brpoplpush": _brpoplpush,
    "blmpop": _blmpop,
    "bzpopmin": _bzpopmin,
    "bzpopmax": _bzpopmax,
    "bzmpop": _bzmpop,
}
EFFECTS: Final[Mapping[str, Translate]] = {
    name: _where_taken(translate) for name, translate in _TAKEN.items()
}
