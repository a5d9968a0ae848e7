"""Keys of every type in every encoding, and their content in a form that two servers share."""

from collections.abc import Callable
from typing import Any

Ask = Callable[..., Any]
"""Runs a command given as words and answers its reply as Python values, not made any nicer."""


def pairs_of(reply: Any) -> Any:
    """A reply whose maps are flat lists in RESP2, as maps, without what servers count alone."""
    if isinstance(reply, dict):
        return {
            _text(name): pairs_of(value) for name, value in reply.items() if _text(name) in KEPT
        }
    if isinstance(reply, (list, tuple)):
        if reply and len(reply) % 2 == 0 and reply[0] in (b"length", b"name"):
            return pairs_of(dict(zip(reply[::2], reply[1::2], strict=True)))
        return [pairs_of(item) for item in reply]
    return reply


def _text(name: Any) -> Any:
    return name.decode() if isinstance(name, bytes) else name


KEPT = {"length", "last-generated-id", "max-deleted-entry-id", "entries-added", "entries"}
KEPT |= {"recorded-first-entry-id", "groups", "name", "last-delivered-id", "entries-read", "lag"}
KEPT |= {"pel-count", "pel", "pending", "consumers", "seen-time"}


def stream_content(ask: Ask, key: bytes) -> Any:
    """Entries, ids and groups with all that is pending."""
    return pairs_of(ask("XINFO", "STREAM", key, "FULL", "COUNT", 0))


def content(ask: Ask, key: bytes) -> Any:
    """The type and everything in a key, in a form that two servers share."""
    kind = ask("TYPE", key)
    if kind == b"string":
        return kind, ask("GET", key)
    if kind == b"list":
        return kind, ask("LRANGE", key, 0, -1)
    if kind == b"set":
        return kind, sorted(ask("SMEMBERS", key))
    if kind == b"stream":
        return kind, stream_content(ask, key)
    read = ("ZRANGE", key, 0, -1, "WITHSCORES") if kind == b"zset" else ("HGETALL", key)
    found = ask(*read)
    pairs = found.items() if isinstance(found, dict) else found
    flat = (
        pairs
        if not pairs or (isinstance(pairs, list) and isinstance(pairs[0], bytes))
        else [item for pair in pairs for item in pair]
    )
    names, values = list(flat)[::2], list(flat)[1::2]
    if kind == b"zset":
        values = [float(value) for value in values]
    return kind, dict(zip(names, values, strict=True))


def fill_streams(ask: Ask) -> None:
    """Streams with other fields, gaps, groups and pending entries."""
    for number in range(1, 251):
        ask(
            "XADD", "stream:large", f"{number}-{number % 3}", "field", number, "other", "x" * number
        )
    ask("XADD", "stream:large", "18446744073709551615-1", "odd", "y")
    ask("XDEL", "stream:large", "7-1", "120-0")
    ask("XTRIM", "stream:large", "MAXLEN", 240)
    ask("XGROUP", "CREATE", "stream:large", "first", 0)
    ask("XGROUP", "CREATE", "stream:large", "second", "100-1", "ENTRIESREAD", 97)
    ask("XREADGROUP", "GROUP", "first", "alice", "COUNT", 50, "STREAMS", "stream:large", ">")
    ask("XREADGROUP", "GROUP", "first", "bob", "COUNT", 20, "STREAMS", "stream:large", ">")
    ask("XACK", "stream:large", "first", "30-0", "31-1")
    ask("XCLAIM", "stream:large", "first", "carol", 0, "40-1", "41-2", "RETRYCOUNT", 7)
    ask(
        "XREADGROUP", "GROUP", "second", "dave", "COUNT", 3, "NOACK", "STREAMS", "stream:large", ">"
    )
    ask("XADD", "stream:empty", "5-5", "f", "v")
    ask("XDEL", "stream:empty", "5-5")
    ask("XGROUP", "CREATE", "stream:empty", "g", "$")
    ask("XADD", "stream:small", "0-1", "12", "-7", "f", "")


def fill(ask: Ask) -> list[bytes]:
    """A key of each type in each encoding."""
    ask("MSET", "short", "hello", "number", 12345, "large", 2**62, "empty", "", "long", "ab" * 9000)
    ask("APPEND", "raw", "x")
    ask("SETBIT", "bits", 100_000, 1)
    ask("PFADD", "sketch", *range(100))
    ask("PFADD", "dense", *range(3000))
    ask("RPUSH", "list:small", *range(-5, 5), "a" * 70, 2**40, -(2**63), 300_000, 2**31)
    ask("RPUSH", "list:large", *(b"element %d" % n for n in range(3000)))
    ask("RPUSH", "list:wide", "y" * 100_000, "z")
    ask("SADD", "set:16", 1, 2, 3)
    ask("SADD", "set:32", 1, 70_000)
    ask("SADD", "set:64", 1, -(2**40))
    ask("SADD", "set:small", "a", "b", 1)
    ask("SADD", "set:large", *(b"member %d" % n for n in range(1000)))
    ask("ZADD", "zset:small", 1, "a", 2.5, "b", "inf", "c", "-inf", "d", 1e300, "e", -0.1, "f")
    ask("ZADD", "zset:large", *(item for n in range(500) for item in (n * 0.1, b"m%d" % n)))
    ask("HSET", "hash:small", "a", 1, "b", "x" * 60, "c", -70_000)
    ask("HSET", "hash:large", *(item for n in range(600) for item in (b"f%d" % n, n)))
    ask("HSET", "hash:wide", "f", "y" * 9000)
    fill_streams(ask)
    return sorted(ask("KEYS", "*"))
