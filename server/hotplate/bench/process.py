"""A server as a child process: start it, wait until it says that it is ready, stop it.

Owns the process, its free port and its log file. Knows no protocol. The benchmark and the tests
start their servers here. Invariants: `start_*` returns a server that answered ready or raises
ServerStartError with the end of its log; `stop` leaves no process behind.
"""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

START_SECONDS_MAX: Final = 30.0  # a loaded machine imports slowly; a server that hangs must fail
STOP_SECONDS_MAX: Final = 10.0  # after SIGTERM; then SIGKILL
POLL_SECONDS: Final = 0.02
LOG_TAIL_BYTES: Final = 8192
PORT_ATTEMPTS_MAX: Final = 5  # another process may take a free port before redis-server binds it

_HOTPLATE_READY: Final = re.compile(rb"(?im)^.*\bready\b.*\b127\.0\.0\.1:(\d+).*\n")
_REDIS_READY: Final = re.compile(rb"(?m)^.*Ready to accept connections.*\n")


class ServerStartError(RuntimeError):
    """The server ended or stayed silent instead of becoming ready; the text holds its log."""


class ServerProcess:
    """A running server on 127.0.0.1. Leaving its `with` block stops it."""

    __slots__ = ("_process", "command", "log_path", "name", "port")

    def __init__(self, name: str, command: Sequence[str], log_path: Path) -> None:
        self.name = name
        self.command = tuple(command)
        self.log_path = log_path
        self.port = 0
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def url(self) -> str:
        """For Redis clients."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once it ended, for whatever reason."""
        return self._process.poll() is None

    def log(self) -> str:
        """Everything it printed, this start and earlier ones into the same file."""
        return self.log_path.read_text(errors="replace")

    def log_tail(self) -> str:
        """The end of `log`, for error messages."""
        return self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def wait_ready(
        self,
        ready: re.Pattern[bytes],
        log_start_bytes: int,
        seconds_max: float = START_SECONDS_MAX,
    ) -> re.Match[bytes]:
        """The first match of `ready` in what it printed after `log_start_bytes`."""
        deadline = time.monotonic() + seconds_max
        while True:
            ended = not self.running  # asked before the log is read, so that no last line is missed
            match = ready.search(self.log_path.read_bytes()[log_start_bytes:])
            if match is not None:
                return match
            if ended:
                status = f"ended with status {self._process.returncode}"
                raise ServerStartError(f"{self.name} {status}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                silence = f"was not ready after {seconds_max:.0f} s"
                raise ServerStartError(f"{self.name} {silence}:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that does not end it. Its exit status."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_hotplate(
    directory: Path, *options: str, port: int = 0, seconds_max: float = START_SECONDS_MAX
) -> ServerProcess:
    """Start Hotplate with its files in `directory`; port 0 takes a free one."""
    command = [sys.executable, "-m", "hotplate.server", "--port", str(port)]
    command += ["--dir", str(directory), *options]
    log_path = directory / "hotplate.log"
    log_start_bytes = log_path.stat().st_size if log_path.exists() else 0
    server = ServerProcess("hotplate", command, log_path)
    server.port = int(server.wait_ready(_HOTPLATE_READY, log_start_bytes, seconds_max)[1])
    return server


def redis_binary() -> str | None:
    """The path of a Redis or Valkey server, if one is installed."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def start_redis(directory: Path, *options: str, binary: str | None = None) -> ServerProcess:
    """Start a redis-server, or another one that takes its options, on a free port.

    It loads what snapshot there is in `directory`, and saves one only when told.
    """
    binary = binary or redis_binary()
    if binary is None:
        raise ServerStartError("no redis-server and no valkey-server in PATH")
    log_path = directory / "redis.log"
    for attempt in range(1, PORT_ATTEMPTS_MAX + 1):
        port = free_port()
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
        command += ["--save", "", "--appendonly", "no", *options]
        log_start_bytes = log_path.stat().st_size if log_path.exists() else 0
        server = ServerProcess("redis-server", command, log_path)
        server.port = port
        try:
            server.wait_ready(_REDIS_READY, log_start_bytes)
        except ServerStartError as error:
            if "Address already in use" in str(error) and attempt < PORT_ATTEMPTS_MAX:
                continue
            raise
        return server
    raise AssertionError("the last attempt returns or raises")


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
