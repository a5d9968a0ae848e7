"""The benchmark measures what it says, end to end; the figures are not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hotplate.bench import core, main
from hotplate.bench.link import Link, ReplyError, frame, server_name
from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e


def test_the_link_reads_replies_of_pipelines_and_payloads(redis_server: ServerProcess) -> None:
    payload = memoryview(bytes(range(256)) * 4096)
    with Link(redis_server.url) as link:
        assert link.calls(frame("SET", "x", 1) + frame("INCR", "x"), 2) == [b"OK", 2]
        head = b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$%d\r\n" % len(payload)
        link.send_parts([head, payload, b"\r\n"] * 200, expected=b"OK", replies=200)
        target = memoryview(bytearray(3 * len(payload)))
        views = [target[n * len(payload) : (n + 1) * len(payload)] for n in range(3)]
        link.receive_bulks(frame("GET", "b") * 3, views)
        assert target == bytes(payload) * 3
        with pytest.raises(ReplyError, match="expected"):
            link.receive_bulks(frame("GET", "x"), views[:1])


def test_an_error_reply_stops_a_measurement(redis_server: ServerProcess) -> None:
    with Link(redis_server.url) as link, pytest.raises(ReplyError, match="unknown command"):
        link.command("NOSUCH")


def test_servers_tell_their_names(
    hotplate_server: ServerProcess, redis_server: ServerProcess
) -> None:
    with Link(hotplate_server.url) as ours, Link(redis_server.url) as theirs:
        assert server_name(ours).startswith("Hotplate ")
        assert server_name(theirs).startswith(("Redis ", "Valkey "))


def test_redis_benchmark_gives_a_rate(redis_server: ServerProcess) -> None:
    assert core.Load("get", 2, 4).requests_per_second(redis_server.url, 200) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "lines"), [("kvc", 13), ("bytes", 12), ("limits", 5), ("queues", 12)]
)
def test_a_quick_suite_measures_both_sides_and_cleans_up(
    redis_server: ServerProcess, tmp_path: Path, suite: str, lines: int
) -> None:
    with Link(redis_server.url) as link:
        link.command("FLUSHALL")
        written = tmp_path / "figures.json"
        arguments = ["--suite", suite, "--quick", "--alternations", "1", "--blocks", "16384"]
        arguments += ["--against", redis_server.url, "--json", str(written)]
        assert main.main(arguments) == 0
        rows = json.loads(written.read_text())["suites"][0]["rows"]
        assert len(rows) == lines
        assert all(row["ours"]["median"] > 0 and row["theirs"]["median"] > 0 for row in rows)
        assert link.command("DBSIZE") == 0


@pytest.mark.slow
def test_the_index_suite_fills_and_looks_up(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    # A process of its own: memory that earlier tests gave back would hide the growth.
    command = [sys.executable, "-m", "hotplate.cli", "bench", "--suite", "index"]
    command += ["--blocks", "40960", "--json", str(written)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode in (0, 1), result.stderr
    figures = json.loads(written.read_text())
    assert figures["blocks"] == 40960
    assert figures["bytes_a_block"] > 16
    assert "GETLOC COUNT of 2048" in result.stdout


def test_without_a_server_to_compare_with_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main.main(["--suite", "kvc", "--quick"]) == 2
    assert "no redis-server" in capsys.readouterr().err
