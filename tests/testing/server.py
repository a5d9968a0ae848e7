"""Fixtures that run real servers as child processes. The log of each is shown if the test fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from hotplate.bench.process import ServerProcess, start_hotplate, start_redis

# Small storages: a test must not take a quarter of the machine's memory.
SMALL_STORAGES = ("--kvc-memory-capacity", "64mb", "--kvc-ssd-capacity", "64mb")

SERVERS = pytest.StashKey[list[ServerProcess]]()


class StartHotplate(Protocol):
    """What the fixture `start_server` gives."""

    def __call__(
        self, *options: str, directory: Path | None = None, port: int = 0
    ) -> ServerProcess:
        """Start a Hotplate with these command line options, in a new directory unless told which.

        The same `directory` again, after `stop` or `kill`, restarts on the data it left.
        """
        ...


@pytest.fixture
def start_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartHotplate]:
    """Starts as many Hotplates as a test asks for; all are stopped after it."""
    servers = request.node.stash.setdefault(SERVERS, [])

    def start(*options: str, directory: Path | None = None, port: int = 0) -> ServerProcess:
        place = directory or tmp_path_factory.mktemp("hotplate")
        server = start_hotplate(place, *SMALL_STORAGES, *options, port=port)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def hotplate_server(start_server: StartHotplate) -> ServerProcess:
    """A fresh Hotplate: `port`, `url`, `pid`, `log()`, `stop()`, `kill()`."""
    return start_server()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One redis-server without persistence for the whole run: flush what you use."""
    with start_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def add_server_logs(item: pytest.Item, report: pytest.TestReport) -> None:
    """Show the servers' logs in the report of a failed test."""
    if report.failed:
        for server in item.stash.get(SERVERS, []):
            report.sections.append((f"log of {server.name} :{server.port}", server.log()))
