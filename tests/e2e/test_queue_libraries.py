"""Task queue and chat libraries with their own workers, as they come from PyPI and npm.

Each runs as a program in its own environment (tests/tools/queue_packages.sh), because they want
different versions of redis-py. A program starts the library's worker, uses what the library offers
(results, retries, priorities, delays, chords or flows, failures) and ends with `done`.
"""

import os
import subprocess
from pathlib import Path

import pytest

from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".queue-packages"
PROGRAMS = ROOT / "tests" / "e2e" / "queue_programs"
SECONDS_MAX = 150  # a loaded machine imports slowly


def run(program: str, environment: str, server: ServerProcess) -> None:
    """Run one to its end. AssertionError with what it printed where that is not `done`."""
    if not (PACKAGES / "installed").exists():
        pytest.skip("the libraries are not installed: make queue-packages")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if environment == "node":
        command = ["node"]
        variables["NODE_PATH"] = str(PACKAGES / "node" / "node_modules")
    else:
        command = [str(PACKAGES / environment / "bin" / "python")]
    result = subprocess.run(
        [*command, str(PROGRAMS / program), str(server.port)],
        cwd=PROGRAMS,
        env=variables,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    assert result.stdout.rstrip().endswith("done")


@pytest.mark.parametrize("library", ["celery", "rq", "dramatiq", "faststream", "taskiq"])
def test_a_library_of_task_queues_works(library: str, hotplate_server: ServerProcess) -> None:
    run(f"{library}_program.py", "python", hotplate_server)


def test_arq_works(hotplate_server: ServerProcess) -> None:
    run("arq_program.py", "arq", hotplate_server)


def test_bullmq_works(hotplate_server: ServerProcess) -> None:
    run("bullmq_program.js", "node", hotplate_server)


def test_libraries_that_keep_chats_work(hotplate_server: ServerProcess) -> None:
    run("sessions_program.py", "python", hotplate_server)
