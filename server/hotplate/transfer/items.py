"""What is moved, where it comes from: a server, a snapshot, the directory of an append-only log."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from redis.exceptions import ResponseError

from hotplate.keyspace.rdb import PlainString, dump
from hotplate.persist.rdb_reader import Fading, Keyed, Library, RdbReader, Skipped, Strings
from hotplate.transfer.link import Link

_KEYS_MIN, _KEYS_MAX = 16, 512  # asked for at once
_REPLY_BYTES: Final = 16 << 20  # that many in one go are enough
_HEADER_BYTES: Final = 32  # more than the first line of a part of a command takes


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its value as DUMP gives it, and when it expires (Unix ms, 0: never)."""

    database: int
    key: bytes
    payload: bytes
    expire_at_ms: int


@dataclass(frozen=True, slots=True)
class Code:
    """A library of Lua functions."""

    code: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A command of a log, to be run again."""

    argv: list[bytes]


@dataclass(frozen=True, slots=True)
class Left:
    """What can't be moved, and why. `moved`: only a part of it."""

    what: str
    why: str
    moved: bool = False


Item: TypeAlias = Key | Code | Call | Left


class SourceError(ValueError):
    """A source that can't be read; the text says why."""


# -- a server --------------------------------------------------------------------------------------


def from_server(link: Link, databases: list[int], pattern: str | None) -> Iterator[Item]:
    """Libraries, then the keys of each database as SCAN finds them."""
    yield from _libraries(link)
    expires_at = link.knows("PEXPIRETIME", "")
    for database in databases:
        link.select(database)
        batch = _KEYS_MIN
        for keys in _scan(link, pattern):
            while keys:
                some, keys = keys[:batch], keys[batch:]
                found = list(_dump(link, database, some, expires_at=expires_at))
                size = sum(len(item.payload) for item in found if isinstance(item, Key))
                batch = max(batch // 2, 1) if size > _REPLY_BYTES else min(batch * 2, _KEYS_MAX)
                yield from found


def _libraries(link: Link) -> Iterator[Item]:
    reply = link.run([("FUNCTION", "LIST", "WITHCODE")])[0]
    if isinstance(reply, ResponseError):
        return  # a server before 7.0
    for library in reply:
        about = dict(zip(library[::2], library[1::2], strict=True))
        yield Code(about[b"library_code"])


def _scan(link: Link, pattern: str | None) -> Iterator[list[bytes]]:
    cursor = b"0"
    matching = () if pattern is None else ("MATCH", pattern)
    seen: set[bytes] = set()  # SCAN may give a key again while tables are resized
    while True:
        cursor, keys = link.call("SCAN", cursor, *matching, "COUNT", _KEYS_MAX)
        fresh = [key for key in dict.fromkeys(keys) if key not in seen]
        seen.update(fresh)
        yield fresh
        if cursor == b"0":
            return


def _dump(link: Link, database: int, keys: list[bytes], *, expires_at: bool) -> Iterator[Item]:
    asks: list[tuple[bytes | str, ...]] = [("TIME",)]
    for key in keys:
        asks += [("DUMP", key), ("PEXPIRETIME" if expires_at else "PTTL", key)]
    (seconds, microseconds), *replies = link.run(asks)
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    for key, payload, time_ms in zip(keys, replies[::2], replies[1::2], strict=True):
        if isinstance(payload, ResponseError):
            yield Left(_name(database, key), str(payload))
        elif payload is not None:  # else it is gone meanwhile
            expire_at_ms = 0 if time_ms < 0 else time_ms if expires_at else now_ms + time_ms
            yield Key(database, key, payload, expire_at_ms)


def _name(database: int, key: bytes) -> str:
    return f"{key!r} in database {database}"


# -- files -----------------------------------------------------------------------------------------


def from_snapshot(path: Path, *, tail: list[int] | None = None) -> Iterator[Item]:
    """What is in a snapshot. `tail`: a log may follow in the file; gets where it begins."""
    with path.open("rb") as file:
        reader = RdbReader(file.read)
        for record in reader.records():
            yield from _items_of(record)
        if tail is not None:
            tail.append(reader.offset)
        elif reader.trailing or file.read(1):
            raise SourceError(f"{path}: more bytes behind the end, at byte {reader.offset}")


def _items_of(record: Any) -> Iterator[Item]:
    if isinstance(record, Strings):
        rows = zip(record.keys, record.values, record.expiries_ms, strict=True)
        for key, text, expire_at_ms in rows:
            payload = dump(PlainString(text), compact=False)
            yield Key(record.database, key, payload, expire_at_ms)
    elif isinstance(record, Keyed):
        payload = dump(record.value, compact=False)
        yield Key(record.database, record.key, payload, record.expire_at_ms)
        if record.state:
            why = "policies of groups and producers of a stream stay behind"
            yield Left(_name(record.database, record.key), why, moved=True)
    elif isinstance(record, Fading):
        yield Left(_name(record.database, record.row[0]), "rate limits are not moved")
    elif isinstance(record, Library):
        yield Code(record.code)
    elif isinstance(record, Skipped):
        name = _name(record.database, record.key) if record.key else "the file"
        yield Left(name, f"{record.what} is not supported")


def from_log(directory: Path) -> Iterator[Item]:
    """What the files of an append-only log's manifest hold, in order."""
    manifests = sorted(directory.glob("*.manifest"))
    if len(manifests) != 1:
        raise SourceError(f"{directory}: {len(manifests)} manifests, where one should be")
    for name in _manifest_files(manifests[0]):
        yield from from_log_file(directory / name)


def _manifest_files(path: Path) -> list[str]:
    rows: list[tuple[bool, int, str]] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        about = dict(zip(words[::2], words[1::2], strict=False))
        name, kind, sequence = about.get("file", ""), about.get("type"), about.get("seq", "")
        if not name or "/" in name or kind not in ("b", "h", "i") or not sequence.isdigit():
            raise SourceError(f"{path}: line {number} is not understood: {line!r}")
        if kind != "h":  # history waits to be deleted
            rows.append((kind == "i", int(sequence), name))
    return [name for _, _, name in sorted(rows)]


def from_log_file(path: Path) -> Iterator[Item]:
    """One file: a snapshot, commands, or commands behind a snapshot."""
    start = 0
    with path.open("rb") as file:
        head = file.read(6)
    if head[:5] == b"REDIS" or head == b"VALKEY":
        tail: list[int] = []
        yield from from_snapshot(path, tail=tail)
        start = tail[0]
    if path.stat().st_size > start:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _calls(path, data, start)


def _calls(path: Path, data: mmap.mmap, start: int) -> Iterator[Item]:
    at, size = start, len(data)
    while at < size:
        if data[at : at + 1] == b"#":  # a note of the time
            end = data.find(b"\r\n", at)
            at = size if end < 0 else end + 2
            continue
        call = _call(path, data, at)
        if call is None:
            why = f"an incomplete command at byte {at}, at the end of the log"
            yield Left(f"{size - at} bytes of {path.name}", why)
            return
        argv, at = call
        yield Call(argv)


def _call(path: Path, data: mmap.mmap, start: int) -> tuple[list[bytes], int] | None:
    """The command that begins at `start` and where it ends; None: the file ends inside of it."""

    def number(mark: bytes, at: int) -> tuple[int, int] | None:
        end = data.find(b"\r\n", at, at + _HEADER_BYTES)
        is_cut = end < 0 and len(data) - at < _HEADER_BYTES
        text = data[at + 1 :].rstrip(b"\r") if is_cut else data[at + 1 : end]
        if data[at : at + 1] != mark or not (text.isdigit() or (is_cut and not text)):
            raise SourceError(f"{path}: no command at byte {start}")
        return None if is_cut else (int(text), end + 2)

    header = number(b"*", start)
    argv: list[bytes] = []
    at = start
    if header is not None:
        count, at = header
        while len(argv) < count:
            length = number(b"$", at) if at < len(data) else None
            if length is None or length[1] + length[0] + 2 > len(data):
                return None
            size, at = length
            argv.append(data[at : at + size])
            at += size + 2
    return None if header is None else (argv, at)
