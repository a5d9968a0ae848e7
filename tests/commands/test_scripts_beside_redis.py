"""Scripts side by side with a real Redis: every reply and error equal, byte by byte.

scripts_beside_redis.txt holds one case between two `----` lines: a script, or after `!` a command
whose words are parted by `|`. They build on each other.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.testing.console import Console, build_engine
from tests.testing.differential import SocketPeer

from hotplate.bench.process import ServerProcess, start_redis
from hotplate.clock import SystemClock

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
_CASES = Path(__file__).with_name("scripts_beside_redis.txt").read_text("utf-8")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with start_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def words_of(case: str) -> list[bytes]:
    """The command that a case stands for."""
    if not case.startswith("!"):
        return [b"EVAL", case.encode(), b"0"]
    return [
        word.encode().decode("unicode_escape").encode("latin-1") for word in case[1:].split("|")
    ]


@pytest.mark.parametrize("resp", [2, 3])
def test_scripts_answer_as_in_redis(redis_server: ServerProcess, resp: int) -> None:
    ours = Console(build_engine(SystemClock()), resp=resp)
    with closing(SocketPeer(redis_server.port, resp)) as theirs:
        for peer in (theirs, ours):
            for container in (b"FUNCTION", b"SCRIPT"):
                peer.execute([container, b"FLUSH"])
            peer.execute([b"FLUSHALL"])
        differences = []
        for case in _CASES.strip("\n").split("\n----\n"):
            argv = words_of(case.strip("\n"))
            expected, answered = theirs.execute(argv), ours.execute(argv)
            if expected != answered:
                differences.append((case, expected, answered))
        assert differences == []
