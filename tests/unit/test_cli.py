"""The `hotplate` command: which subcommand, and what it says where there is none."""

import pytest

from hotplate import cli
from hotplate.server import app


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_subcommand(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for name in ("serve", "demo", "import", "export", "check", "bench"):
        assert f"  hotplate {name} " in printed.out


@pytest.mark.parametrize("word", ["-v", "--version"])
def test_the_version_is_one_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 0
    name, _, version = capsys.readouterr().out.strip().partition(" ")
    assert name == "hotplate"
    assert version[0].isdigit()


def test_a_subcommand_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nosuch", "--port", "0"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("hotplate: there is no subcommand 'nosuch'\n")
    assert "hotplate serve" in printed.err


def test_a_subcommand_gets_the_words_behind_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[list[str]] = []

    def serve(argv: list[str]) -> int:
        given.append(argv)
        return 7

    monkeypatch.setattr(app, "main", serve)
    assert cli.main(["serve", "--port", "0"]) == 7
    assert given == [["--port", "0"]]


def test_serve_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--help"]) == 0
    assert "--unixsocket PATH" in capsys.readouterr().out
