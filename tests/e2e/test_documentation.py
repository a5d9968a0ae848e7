"""What the pages tell people to type works, and their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
PAGES += sorted((REPOSITORY / "docs").rglob("*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def typed(server: ServerProcess, session: str) -> list[str]:
    """What redis-cli prints for the lines of a session."""
    result = subprocess.run(
        ["redis-cli", "-p", str(server.port), "--no-raw"],
        input=session,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return result.stdout.splitlines()


def test_the_first_session_of_the_readme_answers_what_it_says(
    hotplate_server: ServerProcess,
) -> None:
    (session,) = blocks(REPOSITORY / "README.md", "redis-cli")
    printed = typed(hotplate_server, session)
    assert not [line for line in printed if "(error)" in line]
    assert "(integer) 2" in printed
    assert '"BBBBBBBB"' in printed
    assert printed[-1] == "(integer) 1"


def test_the_session_of_the_guide_runs_without_an_error(hotplate_server: ServerProcess) -> None:
    (session,) = blocks(REPOSITORY / "docs/getting-started.md", "redis-cli")
    printed = typed(hotplate_server, session)
    assert not [line for line in printed if "(error)" in line]
    assert "(integer) 3" in printed


def test_the_sessions_of_the_page_on_limits_answer_as_it_says(
    hotplate_server: ServerProcess,
) -> None:
    throttle, generation, queue, _ = blocks(REPOSITORY / "docs/limits.md", "redis-cli")
    printed = typed(hotplate_server, throttle)
    assert [line[-2:] for line in printed if line.startswith("1)")] == [" 0", " 1", " 0"]
    printed = typed(hotplate_server, generation)
    assert not [line for line in printed if "(error)" in line]
    assert '2) "req-7f3a"' in printed
    assert [line for line in printed if "(integer) 550" in line]  # of 2000 reserved, 1450 used
    printed = typed(hotplate_server, queue)
    assert not [line for line in printed if "(error)" in line]
    replies = [line for line in printed if line.startswith("1) (integer)")]
    assert replies == ["1) (integer) 1", "1) (integer) 1", "1) (integer) 3"]
    assert [line for line in printed if '"_ticket"' in line]


def test_the_recipe_with_plain_lists_works_as_written(hotplate_server: ServerProcess) -> None:
    *_, recipe = blocks(REPOSITORY / "docs/limits.md", "redis-cli")
    counts = ["(integer) 0", "(integer) 1", "(integer) 2", "(integer) 2"]
    assert typed(hotplate_server, recipe) == [*counts, '"first"', '"second"', "(nil)"]


def test_every_guarantee_on_limits_names_a_test_that_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs/limits.md").read_text()))
    texts = [path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py")]
    there = {
        name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)
    }
    assert len(named) >= 14
    assert named <= there


QUEUES = REPOSITORY / "docs/queues.md"


def test_the_session_of_the_page_on_queues_runs_without_an_error(
    hotplate_server: ServerProcess,
) -> None:
    (session,) = blocks(QUEUES, "redis-cli")
    printed = typed(hotplate_server, session)
    assert not [line for line in printed if "(error)" in line]
    assert [line for line in printed if '"visibility-ms"' in line]


def test_the_script_of_the_page_on_queues_adds_while_there_is_room(
    hotplate_server: ServerProcess,
) -> None:
    (script,) = blocks(QUEUES, "lua")
    with redis.Redis(port=hotplate_server.port) as client:
        added = [client.eval(script, 1, "tasks", 2, "n", number) for number in range(3)]
        assert [reply is not None for reply in added] == [True, True, False]
        client.xgroup_create("tasks", "engines", "0")
        client.xreadgroup("engines", "one", {"tasks": ">"})
        client.execute_command("XACKDEL", "tasks", "engines", "DELREF", "IDS", 1, added[0])
        assert client.eval(script, 1, "tasks", 2, "n", 3) is not None


def test_every_guarantee_on_queues_names_a_test_that_is_there() -> None:
    text = QUEUES.read_text()
    (guarantees,) = re.findall(r"## What is guaranteed\n(.*?)\n## ", text, re.DOTALL)
    named = set(re.findall(r"`(test_\w+|\w+Machine)`", guarantees))
    texts = [path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py")]
    there = {
        name for text in texts for name in re.findall(r"^(?:def|class) (\w+)\(", text, re.MULTILINE)
    }
    assert len(named) >= 5
    assert named <= there


@pytest.mark.parametrize("name", ["getting-started.md", "queues.md"])
def test_the_python_of_a_page_runs(hotplate_server: ServerProcess, name: str) -> None:
    (script,) = blocks(REPOSITORY / "docs" / name, "python")
    script = script.replace("redis://127.0.0.1:6379", hotplate_server.url)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_consumer_of_events_prints_what_its_page_says(hotplate_server: ServerProcess) -> None:
    page = REPOSITORY / "docs/observability.md"
    (script,) = blocks(page, "python")
    script = script.replace("redis://127.0.0.1:6379", hotplate_server.url)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    (said,) = re.findall(r"It prints:\n\n((?:    .*\n)+)", page.read_text())
    assert result.stdout.splitlines() == [line.strip() for line in said.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in targets if not (page.parent / link).exists()] == []
