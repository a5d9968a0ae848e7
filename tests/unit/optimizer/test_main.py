"""The command `hotplate replay`."""

import json
from pathlib import Path

import pytest
from tests.testing.traces import conversations, write_trace

from hotplate.optimizer import main as command
from hotplate.optimizer.live import LiveReplayError
from hotplate.optimizer.simulate import Outcome, simulate
from hotplate.optimizer.trace import Trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small trace."""
    file = tmp_path / "small.jsonl"
    write_trace(file, conversations(1, 120))
    return file


def test_it_prints_a_line_a_policy_and_size(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--policy", "lru", "--policy", "hslru", "--capacity", "20", "--capacity", "60"]
    assert command.main([str(path), *arguments, "--block-tokens", "16"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("small.jsonl: 120 requests, ")
    lines = [line.split() for line in out.splitlines()[5:]]
    assert [line[:2] for line in lines] == [
        ["lru", "20"],
        ["lru", "60"],
        ["hslru", "20"],
        ["hslru", "60"],
    ]
    assert all(len(line) == 10 for line in lines)


def test_figures_are_written_as_json(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    assert (
        command.main([str(path), "--policy", "lru", "--capacity", "20", "--json", str(target)]) == 0
    )
    figures = json.loads(target.read_text())
    assert figures["requests"] == 120
    [row] = figures["rows"]
    assert row["capacity"] == 20
    assert 0 < row["whole"]["block"] < 1


def test_a_capacity_is_blocks_or_bytes() -> None:
    assert command.parse_capacity("1000", None) == 1000
    assert command.parse_capacity("3gb", 1 << 20) == 3072
    for text, block_bytes, message in (
        ("0", None, "not one block"),
        ("3gb", None, "--block-bytes"),
        ("1kb", 4096, "not one block"),
        ("many", 1, "memory value"),
    ):
        with pytest.raises(ValueError, match=message):
            command.parse_capacity(text, block_bytes)


@pytest.mark.parametrize(
    "arguments", [["--capacity", "0"], ["--policy", "clock"], ["--rounds", "0"]]
)
def test_bad_arguments_are_named(path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([str(path), *arguments])
    assert ended.value.code == 2


def test_a_trace_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize(("shift", "status"), [(0, 0), (1, 1)])
def test_a_server_that_finds_something_else_is_told(
    path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    shift: int,
    status: int,
) -> None:
    def play(trace: Trace, policy: str, capacity: int, url: str) -> Outcome:
        assert url == "redis://there"
        matched = simulate(trace, policy, capacity).matched
        matched[70] += shift
        return Outcome(matched, 1.0)

    monkeypatch.setattr(command, "play", play)
    arguments = ["--policy", "lru", "--capacity", "20", "--live", "redis://there"]
    assert command.main([str(path), *arguments]) == status
    told = "1 of 120 requests differ (request 71 is the first)" if shift else "0 of 120 requests"
    assert told in capsys.readouterr().out


def test_a_server_that_does_not_play_along_is_told(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(*_: object) -> Outcome:
        raise LiveReplayError("no room")

    monkeypatch.setattr(command, "play", play)
    assert command.main([str(path), "--live", "redis://there"]) == 2
    assert "no room" in capsys.readouterr().err
