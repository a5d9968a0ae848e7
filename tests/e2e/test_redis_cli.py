"""redis-cli, as people use it."""

import subprocess

import pytest

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e


def redis_cli(server: ServerProcess, *arguments: str, typed: str | None = None) -> str:
    """What redis-cli prints."""
    result = subprocess.run(
        ["redis-cli", "-p", str(server.port), *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("protocol", ["-2", "-3"])
def test_a_session_of_commands_prints_what_redis_prints(
    hotplate_server: ServerProcess, redis_server: ServerProcess, protocol: str
) -> None:
    session = "\n".join(
        (
            "PING",
            "SET greeting hello EX 100",
            "GET greeting",
            "TTL greeting",
            "GET missing",
            "INCR counter",
            "INCRBYFLOAT counter 1.5",
            "MSET a 1 b 2",
            "MGET a b c",
            "EXISTS a b c",
            "TYPE a",
            "INCR greeting",
            "NOSUCH command",
            "SET a",
            "DEL a b greeting counter",
            "DBSIZE",
        )
    )
    ours = redis_cli(hotplate_server, protocol, "--no-raw", typed=session)
    theirs = redis_cli(redis_server, protocol, "-n", "9", "--no-raw", typed=session)
    assert ours == theirs
    assert "hello" in ours


def test_multi_and_exec_work_at_the_prompt(hotplate_server: ServerProcess) -> None:
    typed = "MULTI\nSET a 1\nINCR a\nEXEC\n"
    assert redis_cli(hotplate_server, typed=typed).split() == ["OK", "QUEUED", "QUEUED", "OK", "2"]


def test_the_pipe_mode_loads_raw_commands(hotplate_server: ServerProcess) -> None:
    raw = "".join(f"*3\r\n$3\r\nSET\r\n$4\r\nk{n:03}\r\n$1\r\nv\r\n" for n in range(500))
    printed = redis_cli(hotplate_server, "--pipe", typed=raw)
    assert "errors: 0, replies: 500" in printed
    assert redis_cli(hotplate_server, "DBSIZE").strip() == "500"


def test_scan_mode_lists_every_key(hotplate_server: ServerProcess) -> None:
    redis_cli(hotplate_server, "MSET", *(part for n in range(50) for part in (f"key:{n}", "v")))
    listed = redis_cli(hotplate_server, "--scan", "--pattern", "key:*").split()
    assert sorted(listed) == sorted(f"key:{n}" for n in range(50))
