"""Fuzzes a server's protocol: valid, mutated and random frames over several connections.

    python -m tests.fuzz.frames --frames 1000000 --seed 1 [--port N]

Without --port it starts a Hotplate of its own. Every session is made from (seed, its number) alone:
it sends its frames, says that no more will come, and reads to the end. The server may answer or
close; it fails if it dies, if it answers `ERR internal error`, if a session makes no progress for
STALL_SECONDS, if a new client's PING goes unanswered, or if its memory grows by more than
GROWTH_BYTES_MAX.
"""

import argparse
import errno
import os
import random
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hiredis

from hotplate.bench.process import start_hotplate

STALL_SECONDS: Final = 30.0
GROWTH_BYTES_MAX: Final = 64 * 1024 * 1024
CONNECTIONS: Final = 8
SESSION_FRAMES_MAX: Final = 40
PING_EACH_SESSIONS: Final = 200
RECEIVE_BYTES: Final = 256 * 1024
LARGE_BYTES: Final = (10_000, 32_767, 32_768, 32_769, 70_000, 300_000)

COMMANDS: Final = tuple(
    tuple(line.split())
    for line in b"""\
PING
PING hello
ECHO hello
SET key value
SET key value EX 100 NX GET
SETEX key 100 value
GET key
MSET a 1 b 2 c 3 d 4 e 5 f 6
MGET a b c d e f
INCR counter
INCRBY counter 10
APPEND key more
GETRANGE key 0 -1
SETRANGE key 3 x
DEL key a b
EXISTS key a b
EXPIRE key 100
TTL key
TYPE key
SCAN 0 MATCH k* COUNT 10
FLUSHALL
DBSIZE
SELECT 3
MULTI
EXEC
DISCARD
WATCH key
UNWATCH
HELLO
HELLO 2
HELLO 3
HELLO 3 AUTH default x SETNAME n
AUTH x
CLIENT ID
CLIENT INFO
CLIENT LIST
CLIENT SETNAME fuzz
CLIENT REPLY ON
COMMAND COUNT
COMMAND INFO get set
CONFIG GET maxmemory
INFO
TIME
RESET
QUIT
KVC.GROUP LIST
KVC.STORAGE LIST
KVC.INSTANCE LIST
KVC.GETLOC i PREFIX a b c
KVC.GETLOC i EXACT COUNT a b
KVC.STARTWRITE i a b c
KVC.PUT i a b
KVC.READ i a
UNKNOWN command
""".splitlines()
)
NUMBERS: Final = tuple(
    b"0 1 -1 2 9 10 11 16384 16385 32767 32768 99999 1048576 1048577 536870912 536870913 2147483647"
    b" 2147483648 9223372036854775807 9223372036854775808 99999999999999999999 -2 01 +1 1.5 nan"
    b" 0x10 1_0".split()
)
MARKS: Final = b"*$+-:_,#!=(%~>|;. \"'\r\n\0\xff"


class FuzzError(Exception):
    """The server failed; the text says how, and which session shows it."""


# -- frames ------------------------------------------------------------------------------------


def request(argv: Sequence[bytes]) -> bytes:
    """A request as clients write it."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


def valid(rng: random.Random) -> bytes:
    """A request that means something, sometimes inline, sometimes with changed arguments."""
    argv = list(rng.choice(COMMANDS))
    if rng.random() < 0.3:
        place = rng.randrange(len(argv))
        argv[place] = rng.choice([rng.choice(NUMBERS), rng.randbytes(rng.randrange(8)), b""])
    if rng.random() < 0.1:
        return b" ".join(argv) + b"\r\n"
    return request(argv)


def mutated(rng: random.Random) -> bytes:
    """A request with a few bytes, numbers or slices changed."""
    frame = bytearray(valid(rng))
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(frame) + 1)
        end = min(len(frame), start + rng.randrange(9))
        match rng.randrange(5):
            case 0:
                frame[start:end] = b""
            case 1:
                frame[start:end] = rng.randbytes(rng.randrange(6))
            case 2:
                frame[start:start] = frame[start:end]
            case 3:
                frame[start : start + 1] = bytes([rng.choice(MARKS)])
            case _:
                digits = [i for i, byte in enumerate(frame) if 48 <= byte <= 57]
                if digits:
                    place = rng.choice(digits)
                    frame[place : place + 1] = rng.choice(NUMBERS)
    return bytes(frame)


def made_of_headers(rng: random.Random) -> bytes:
    """Headers of every type, nested and in a row, with lengths that mean harm."""
    parts = []
    for _ in range(rng.randint(1, 12)):
        parts.append(bytes([rng.choice(MARKS)]) + rng.choice(NUMBERS) + b"\r\n")
        if rng.random() < 0.3:
            parts.append(rng.randbytes(rng.randrange(12)) + b"\r\n")
    return b"".join(parts)


def large(rng: random.Random) -> bytes:
    """A request with a large bulk string, now and then cut off."""
    size = rng.choice(LARGE_BYTES)
    payload = rng.choice([b"*99999\r\n", b"$5\r\n", b"x", rng.randbytes(16)])
    value = (payload * (size // len(payload) + 1))[:size]
    frame = request([rng.choice([b"SET", b"ECHO", b"GET", b"NONE"]), b"large", value])
    return frame[: rng.randrange(len(frame))] if rng.random() < 0.3 else frame


def noise(rng: random.Random) -> bytes:
    """Random bytes."""
    return rng.randbytes(rng.randint(1, 60))


KINDS: Final = (valid, mutated, made_of_headers, noise, large)
WEIGHTS: Final = (800, 100, 30, 20, 3)


def session_frames(seed: int, number: int) -> list[bytes]:
    """What session `number` sends."""
    rng = random.Random(f"{seed}/{number}")
    kinds = rng.choices(KINDS, WEIGHTS, k=rng.randint(1, SESSION_FRAMES_MAX))
    return [kind(rng) for kind in kinds]


# -- sessions ----------------------------------------------------------------------------------


@dataclass
class Totals:
    """What a run saw."""

    frames: int = 0
    sessions: int = 0
    replies: int = 0
    protocol_errors: int = 0
    resets: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    rss_before_bytes: int = 0
    rss_after_bytes: int = 0


class Session:
    """One connection: sends what it has, counts what comes back."""

    def __init__(self, number: int, frames: list[bytes], port: int) -> None:
        self.number = number
        self.frame_count = len(frames)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=STALL_SECONDS)
        self.socket.setblocking(False)
        self.progress_at = time.monotonic()
        self.replies = 0
        self.protocol_errors = 0
        self.reset = False
        self._unsent = memoryview(b"".join(frames))
        self.size = len(self._unsent)
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)

    def send(self) -> bool:
        """Send some; False when all is sent and the server was told so."""
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
            if not self._unsent:
                self.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                raise
            return False  # closed by the server; `receive` reads what it said
        self.progress_at = time.monotonic()
        return bool(self._unsent)

    def receive(self) -> bool:
        """Read some; False at the end. Raises FuzzError where it is no RESP."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            # it closed while bytes of ours were on their way: then TCP may drop its last words
            self.reset = True
            return False
        self.progress_at = time.monotonic()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not Ellipsis:
                self.replies += 1
                if isinstance(reply, hiredis.ReplyError):
                    self.protocol_errors += "Protocol error" in str(reply)
                    if str(reply) == "ERR internal error":
                        raise FuzzError(f"session {self.number} hit an internal error")
        except hiredis.ProtocolError as error:
            raise FuzzError(f"session {self.number} was answered with no RESP: {error}") from error
        return bool(data)


def run(port: int, pid: int, frames: int, seed: int, totals: Totals) -> None:
    """Send `frames` frames in sessions; raises FuzzError when the server fails."""
    totals.rss_before_bytes = rss_bytes(pid)
    started = time.monotonic()
    with selectors.DefaultSelector() as selector, closing_sessions(selector):
        while totals.frames < frames or selector.get_map():
            while totals.frames < frames and len(selector.get_map()) < CONNECTIONS:
                if totals.sessions % PING_EACH_SESSIONS == 0:
                    ping(port)
                made = session_frames(seed, totals.sessions)[: frames - totals.frames]
                session = Session(totals.sessions, made, port)
                selector.register(
                    session.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, session
                )
                totals.sessions += 1
                totals.frames += session.frame_count
                totals.bytes_sent += session.size
            step(selector, totals)
    ping(port)
    totals.seconds = time.monotonic() - started
    totals.rss_after_bytes = rss_bytes(pid)
    growth_bytes = totals.rss_after_bytes - totals.rss_before_bytes
    if growth_bytes > GROWTH_BYTES_MAX:
        raise FuzzError(f"the server's memory grew by {growth_bytes:,} bytes")


@contextmanager
def closing_sessions(selector: selectors.BaseSelector) -> Iterator[None]:
    """Close what is open where a failure ends the run."""
    try:
        yield
    finally:
        for key in list(selector.get_map().values()):
            key.data.socket.close()


def step(selector: selectors.BaseSelector, totals: Totals) -> None:
    """Let every session that can go on do so."""
    for key, events in selector.select(timeout=1.0):
        session: Session = key.data
        if events & selectors.EVENT_WRITE and not session.send():
            selector.modify(key.fileobj, selectors.EVENT_READ, session)
        if events & selectors.EVENT_READ and not session.receive():
            selector.unregister(key.fileobj)
            session.socket.close()
            totals.replies += session.replies
            totals.protocol_errors += session.protocol_errors
            totals.resets += session.reset
    stalled_since = time.monotonic() - STALL_SECONDS
    for key in list(selector.get_map().values()):
        if key.data.progress_at < stalled_since:
            raise FuzzError(f"session {key.data.number} is neither answered nor closed")


def ping(port: int) -> None:
    """A new client is served."""
    try:
        answer = ask(port, b"PING")
    except OSError as error:
        raise FuzzError(f"a new client's PING failed: {error}") from error
    if answer != b"PONG":
        raise FuzzError(f"a new client's PING was answered {answer!r}")


def ask(port: int, *argv: bytes) -> object:
    """One command on a connection of its own."""
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    with socket.create_connection(("127.0.0.1", port), timeout=STALL_SECONDS) as client:
        client.sendall(request(argv))
        while (reply := reader.gets()) is Ellipsis:
            data = client.recv(RECEIVE_BYTES)
            if not data:
                raise FuzzError(f"closed instead of answering {argv[0].decode()}")
            reader.feed(data)
    return reply


def rss_bytes(pid: int) -> int:
    """Resident memory of the process; FuzzError if it is gone."""
    try:
        resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError as error:
        raise FuzzError("the server died") from error
    return resident_pages * os.sysconf("SC_PAGE_SIZE")


def process_id(port: int) -> int:
    """The server's, as its INFO says."""
    info = ask(port, b"INFO", b"server")
    if isinstance(info, bytes):
        for line in info.splitlines():
            if line.startswith(b"process_id:"):
                return int(line.partition(b":")[2])
    raise FuzzError(f"INFO server tells no process_id: {info!r:.200}")


@contextmanager
def target(port: int | None) -> Iterator[tuple[int, int]]:
    """The port and process id of the server under test."""
    if port is not None:
        yield port, process_id(port)
        return
    with (
        tempfile.TemporaryDirectory(prefix="hotplate-fuzz-") as directory,
        start_hotplate(Path(directory)) as server,
    ):
        yield server.port, server.pid


def main(arguments: Sequence[str]) -> int:
    """The command; 1 if the server failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.frames", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, help="of a server on 127.0.0.1; default: a new one")
    options = parser.parse_args(arguments)
    totals = Totals()
    failure = None
    try:
        with target(options.port) as (port, pid):
            run(port, pid, options.frames, options.seed, totals)
    except FuzzError as error:
        failure = str(error)
    mebibyte = 1024 * 1024
    print(
        f"seed {options.seed}: {totals.frames} frames ({totals.bytes_sent / mebibyte:.1f} MiB) in"
        f" {totals.sessions} sessions, {totals.frames / max(totals.seconds, 1e-9):,.0f} frames/s\n"
        f"{totals.replies} replies, {totals.protocol_errors} protocol errors,"
        f" {totals.resets} resets\n"
        f"memory {totals.rss_before_bytes / mebibyte:.1f} MiB before,"
        f" {totals.rss_after_bytes / mebibyte:.1f} MiB after"
    )
    if failure is not None:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
