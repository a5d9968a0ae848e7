"""Servers as child processes (a redis-server stands for any)."""

import re
import socket
import sys
from pathlib import Path

import pytest

from hotplate.bench.process import ServerProcess, ServerStartError, start_redis


def test_a_server_is_reachable_when_start_returns_and_gone_when_the_block_ends(
    tmp_path: Path,
) -> None:
    with start_redis(tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall(b"PING\r\n")
            assert link.recv(100) == b"+PONG\r\n"
        assert server.running
    assert not server.running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_a_server_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such directory'); raise SystemExit(3)"]
    server = ServerProcess("child", command, tmp_path / "log")
    with pytest.raises(ServerStartError, match=r"status 3:\nno such directory"):
        server.wait_ready(re.compile(rb"ready"), 0)


def test_a_ready_line_of_an_earlier_start_does_not_count(tmp_path: Path) -> None:
    log_path = tmp_path / "log"
    log_path.write_text("ready\n")
    server = ServerProcess("child", [sys.executable, "-c", "print('failed')"], log_path)
    with pytest.raises(ServerStartError, match="failed"):
        server.wait_ready(re.compile(rb"ready"), 6)
