"""The demo's own server: a child process on a free port, with its data in a temporary directory."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

_READY = re.compile(rb"(?im)^.*\bready\b.*\b127\.0\.0\.1:(\d+)")
_START_SECONDS_MAX = 30.0
_STOP_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.05
_CAPACITY = "2gb"  # of each storage; memory is taken as blocks come


class ServerError(RuntimeError):
    """The server did not become ready; the text holds what it printed."""


class DemoServer:
    """Runs while its `with` block does. `url` is where it listens."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        log_path = self._directory / "server.log"
        command = [sys.executable, "-m", "hotplate.server", "--port", "0"]
        command += ["--dir", str(self._directory), "--bind", "127.0.0.1"]
        command += ["--kvc-memory-capacity", _CAPACITY, "--kvc-ssd-capacity", _CAPACITY]
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self.url = f"redis://127.0.0.1:{self._wait_ready(self._process, log_path)}"
        except BaseException:
            self._stop(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._stop(self._process)

    @staticmethod
    def _wait_ready(process: subprocess.Popen[bytes], log_path: Path) -> int:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while True:
            ended = process.poll() is not None  # asked before the log is read: no line is missed
            log = log_path.read_bytes()
            ready = _READY.search(log)
            if ready is not None:
                return int(ready[1])
            if ended or time.monotonic() > deadline:
                how = "ended" if ended else f"was not ready after {_START_SECONDS_MAX:.0f} s"
                raise ServerError(f"the server {how}:\n{log.decode(errors='replace')}")
            time.sleep(_POLL_SECONDS)

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
