"""Effects of commands on hashes whose fields expire or hold sums of floats."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.keyspace.hash import Hash


def _hash(ctx: Context, key: bytes) -> Hash | None:
    entry = ctx.db.shard_of(key).get(key)
    return entry.value if entry is not None and isinstance(entry.value, Hash) else None


def _fields_at(argv: list[bytes]) -> int:
    """Where the fields begin: behind FIELDS and their number."""
    return next(at for at in range(2, len(argv)) if argv[at].upper() == b"FIELDS") + 2


def _times(ctx: Context, key: bytes, fields: list[bytes]) -> list[list[bytes]]:
    """The times of fields as they are now; those that are gone are deleted."""
    value = _hash(ctx, key)
    if value is None:
        return [[b"DEL", key]]
    gone: list[bytes] = []
    kept: list[bytes] = []
    by_time: dict[int, list[bytes]] = {}
    for field in dict.fromkeys(fields):
        at_ms = value.deadline(field)
        if field not in value.table:
            gone.append(field)
        elif at_ms is None:
            kept.append(field)
        else:
            by_time.setdefault(at_ms, []).append(field)
    requests = [[b"HDEL", key, *gone]] if gone else []
    if kept:
        requests.append([b"HPERSIST", key, b"FIELDS", b"%d" % len(kept), *kept])
    for at_ms, named in by_time.items():
        count = b"%d" % len(named)
        requests.append([b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", count, *named])
    return requests


def _hexpire(ctx: Context, argv: list[bytes], reply: Any) -> list[list[bytes]]:
    """HEXPIRE and its like, HGETEX."""
    return _times(ctx, argv[1], argv[_fields_at(argv) :])


def _hsetex(ctx: Context, argv: list[bytes], reply: Any) -> list[list[bytes]]:
    parts = argv[_fields_at(argv) :]
    key, fields = argv[1], parts[::2]
    words = {word.upper() for word in argv[2 : -len(parts) - 2]}
    if b"KEEPTTL" in words:
        count = b"%d" % len(fields)
        return [[b"HSETEX", key, b"KEEPTTL", b"FIELDS", count, *parts]]
    requests = [[b"HSET", key, *parts]]  # which forgets the fields' times
    if words & {b"EX", b"PX", b"EXAT", b"PXAT"}:
        requests += _times(ctx, key, fields)
    return requests


def _hincrbyfloat(ctx: Context, argv: list[bytes], reply: Any) -> list[list[bytes]]:
    key, field = argv[1], argv[2]
    value = _hash(ctx, key)
    assert value is not None
    text = value.table[field]
    if value.deadline(field) is None:
        return [[b"HSET", key, field, text]]
    return [[b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, text]]


def _hgetdel(ctx: Context, argv: list[bytes], reply: Any) -> list[list[bytes]]:
    return [[b"HDEL", argv[1], *argv[_fields_at(argv) :]]]


EFFECTS: Final[Mapping[str, Callable[[Context, list[bytes], Any], list[list[bytes]]]]] = {
    "hexpire": _hexpire,
    "hpexpire": _hexpire,
    "hexpireat": _hexpire,
    "hpexpireat": _hexpire,
    "hgetex": _hexpire,
    "hsetex": _hsetex,
    "hincrbyfloat": _hincrbyfloat,
    "hgetdel": _hgetdel,
}
