"""CLIENT TRACKING on a real Redis and on Hotplate: random commands of several clients get the same
frames, messages included.

    python -m tests.e2e.test_tracking_random --examples 500

After every command each client asks PING: what comes before the answer was pushed to it.
"""

import argparse
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tests.testing.differential import frame_end

from hotplate.bench.link import frame
from hotplate.bench.process import ServerProcess, start_hotplate, start_redis

_KEY = st.sampled_from(["a", "b", "ab", "ac", "c"])
# Redis 7.0 takes all keys of a script that reads for read, newer ones what it read; and what a
# script writes comes to its own client, NOLOOP or not: so scripts read one key here
_SCRIPT = "return{redis.call('get',KEYS[1])}"


def _words(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    strategies = [st.just(part) if isinstance(part, str) else part for part in parts]
    return st.tuples(*strategies).map(list)


_TRACKING = st.sampled_from(
    [
        *("ON", "ON", "ON NOLOOP", "ON OPTIN", "ON OPTOUT NOLOOP", "ON BCAST", "OFF"),
        *("ON BCAST PREFIX a NOLOOP", "ON BCAST PREFIX b PREFIX ab"),
    ]
).map(lambda options: ["CLIENT", "TRACKING", *options.split()])
_COMMAND = st.one_of(
    _TRACKING,
    st.sampled_from(
        [
            *(
                ["CLIENT", "CACHING", "YES"],
                ["CLIENT", "CACHING", "NO"],
                ["CLIENT", "TRACKINGINFO"],
            ),
            *(["MULTI"], ["EXEC"], ["EXEC"], ["DISCARD"], ["FLUSHALL"], ["FLUSHDB"]),
            *(["SELECT", "1"], ["SELECT", "0"], ["CLIENT", "GETREDIR"], ["PING"]),
        ]
    ),
    _words("GET", _KEY),
    _words("GET", _KEY),
    _words("MGET", _KEY, _KEY),
    _words("STRLEN", _KEY),
    _words("LRANGE", _KEY, "0", "-1"),
    _words("SET", _KEY, "1"),
    _words("SET", _KEY, "2"),
    _words("INCR", _KEY),
    _words("MSET", _KEY, "1", _KEY, "2"),
    _words("DEL", _KEY, _KEY),
    _words("EXPIRE", _KEY, "1000"),
    _words("RENAME", _KEY, _KEY),
    _words("RPUSH", _KEY, "x"),
    _words("COPY", _KEY, _KEY),
    _words("EVAL", _SCRIPT, "1", _KEY),
    _words("EVAL_RO", _SCRIPT, "1", _KEY),
)
_STEPS = st.lists(st.tuples(st.sampled_from("aab"), _COMMAND), min_size=3, max_size=30)


class Clients:
    """Three on one server: `a` and `b` do what the steps say, one more tracks all the time."""

    def __init__(self, stack: ExitStack, port: int) -> None:
        self._sockets = {
            name: stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            for name in "abc"
        }
        self._data = dict.fromkeys("abc", b"")
        for name in "abc":
            self._ask(name, "HELLO", "3")
        self._ask("c", "FLUSHALL")
        self._ask("c", "CLIENT", "TRACKING", "ON")

    def step(self, name: str, words: list[str]) -> list[list[bytes]]:
        """All that the clients get by one command."""
        return [self._ask(name, *words), *[self._ask(other) for other in "abc" if other != name]]

    def _ask(self, name: str, *words: str) -> list[bytes]:
        """The frames of a command, if any, then of one that changes nothing; in between and before
        come messages."""
        frames: list[bytes] = []
        for request in ([words] if words else []) + [("CLIENT", "GETNAME")]:
            self._sockets[name].sendall(frame(*request))
            frames.append(self._next(name))
            while frames[-1].startswith(b">"):
                frames.append(self._next(name))
        return frames

    def _next(self, name: str) -> bytes:
        data = self._data[name]
        while (end := frame_end(data, 0)) is None:
            received = self._sockets[name].recv(1 << 16)
            assert received, "the server closed the connection"
            data += received
        self._data[name] = data[end:]
        return data[:end]


def compare(theirs: ServerProcess, ours: ServerProcess, examples: int, chosen: int | None) -> None:
    """AssertionError with the shortest sequence that differs."""

    @settings(
        max_examples=examples,
        derandomize=chosen is None,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(_STEPS)
    def replay(steps: list[tuple[str, list[str]]]) -> None:
        with ExitStack() as stack:
            pair = [Clients(stack, server.port) for server in (theirs, ours)]
            for name, words in steps:
                expected, got = (clients.step(name, words) for clients in pair)
                assert got == expected, (name, words)

    if chosen is not None:
        seed(chosen)(replay)
    replay()


@pytest.mark.e2e
@pytest.mark.slow
def test_random_commands_get_the_same_frames_and_messages(
    redis_server: ServerProcess, hotplate_server: ServerProcess
) -> None:
    compare(redis_server, hotplate_server, 40, None)


def main(arguments: list[str]) -> int:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        theirs = stack.enter_context(start_redis(folders[0]))
        ours = stack.enter_context(start_hotplate(folders[1]))
        compare(theirs, ours, options.examples, options.seed)
    print(f"{options.examples} sequences, no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
