"""The image's recipe: what it copies is there, what it installs works, what it runs is right."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.arch.source_tree import REPOSITORY

from hotplate.bench.process import ServerProcess, free_port, start_hotplate

DOCKER = REPOSITORY / "docker"
PYTHON = sys.executable


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"(?m)^#.*\n", "", (DOCKER / "Dockerfile").read_text()).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, rest in lines]


def builder() -> list[tuple[str, str]]:
    """The first stage."""
    found = instructions()
    second = [number for number, (word, _) in enumerate(found) if word == "FROM"][1]
    return found[:second]


def compose() -> dict[str, Any]:
    """The compose file."""
    parsed: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return parsed


def test_everything_that_is_copied_exists() -> None:
    copied = [shlex.split(rest) for word, rest in instructions() if word == "COPY"]
    sources = [name for parts in copied if "--from=builder" not in parts for name in parts[:-1]]
    assert "pyproject.toml" in sources
    assert [name for name in sources if not (REPOSITORY / name).exists()] == []


def test_the_server_runs_without_root_and_keeps_its_data_in_a_volume() -> None:
    found = instructions()
    words = [word for word, _ in found]
    assert found[words.index("USER")] == ("USER", "hotplate")
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert ("VOLUME", "/data") in found
    assert "HEALTHCHECK" in words


def test_images_are_named_with_a_version() -> None:
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+-slim", image) for image in images)


def test_compose_publishes_on_this_host_only_and_waits_for_health() -> None:
    services = compose()["services"]
    assert services["hotplate"]["ports"] == ["127.0.0.1:6379:6379"]
    waits = services["worker"]["depends_on"]["hotplate"]
    assert waits == {"condition": "service_healthy"}
    for service in services.values():
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    (mount,) = services["worker"]["volumes"]
    assert (DOCKER / mount.split(":")[0]).exists()


@pytest.mark.slow
def test_the_images_install_steps_give_a_server_that_is_healthy(tmp_path: Path) -> None:
    source, environment = tmp_path / "source", tmp_path / "opt"
    source.mkdir()
    for word, rest in builder():
        if word == "COPY":
            *names, target = shlex.split(rest)
            for name in names:
                copy(REPOSITORY / name, source / target)
        elif word == "RUN":
            command = rest.replace("/opt/hotplate", str(environment))
            run(["sh", "-ec", command], source)
    assert "--port" in run(
        [str(environment / "bin/python"), "-m", "hotplate.server", "--help"], tmp_path
    )


def test_the_health_check_tells_a_server_from_none(hotplate_server: ServerProcess) -> None:
    assert health(hotplate_server.port) == 0
    assert health(free_port()) == 1


def test_a_server_with_a_password_is_healthy_too(tmp_path: Path) -> None:
    with start_hotplate(
        tmp_path, "--requirepass", "secret", "--kvc-memory-capacity", "64mb"
    ) as server:
        assert health(server.port) == 0


def test_the_example_worker_stores_and_finds_blocks(hotplate_server: ServerProcess) -> None:
    printed = run([PYTHON, str(DOCKER / "worker.py"), hotplate_server.url], DOCKER)
    assert printed.splitlines() == [
        "stored 8 blocks",
        "a related prompt reuses 80 of 128 tokens",
    ]
    again = run([PYTHON, str(DOCKER / "worker.py"), hotplate_server.url], DOCKER)
    assert "stored already" in again


def copy(path: Path, target: Path) -> None:
    """As COPY does: a folder's content into the target, a file into the folder."""
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(path, target)


def health(port: int) -> int:
    """The exit status of the health check."""
    command = [PYTHON, str(DOCKER / "healthcheck.py")]
    environment = {"HOTPLATE_PORT": str(port)}
    return subprocess.run(
        command, env=environment, capture_output=True, timeout=30, check=False
    ).returncode


def run(command: list[str], directory: Path) -> str:
    """Its standard output; it must succeed."""
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout
