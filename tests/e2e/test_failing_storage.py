"""A running server whose storages' files are damaged under it."""

import os
from pathlib import Path
from typing import Any

import pytest
import redis

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e

SIZE = 100_000
ATTEMPTS = 100_000  # of a command that waits for the server's next second


class Server:
    """Blocks of one storage of a running server."""

    def __init__(self, process: ServerProcess, storage: str) -> None:
        self.client: Any = redis.Redis.from_url(process.url)
        self.storage = storage
        group = ("default", "VERSION", 1, "STORAGES", 1, storage, "GRACE", 0)
        self.call("KVC.GROUP", "UPDATE", *group)
        options = ("GROUP", "default", "BLOCKTOKENS", 4, "CHAINED", 0, "SPEC", "kv", SIZE)
        self.call("KVC.INSTANCE", "REGISTER", "i", *options)

    def call(self, *words: str | bytes | int) -> Any:
        """One command."""
        return self.client.execute_command(*words)

    def put(self, key: str) -> bytes:
        """Store a block; its bytes."""
        payload = os.urandom(SIZE)
        assert self.call("KVC.PUT", "i", 1, key, payload) == 1
        return payload

    def read(self, key: str) -> bytes | None:
        """A block's bytes."""
        payload: bytes | None = self.call("KVC.READ", "i", key)
        return payload

    def info(self) -> dict[bytes, Any]:
        """KVC.STORAGE INFO."""
        reply = self.call("KVC.STORAGE", "INFO", self.storage)
        return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))

    def files(self) -> list[Path]:
        """The segment files."""
        return sorted(Path(self.info()[b"path"].decode()).glob("*.segment"))

    def wait_for(self, state: bytes) -> None:
        """Until the storage is in a state."""
        for _ in range(ATTEMPTS):
            if self.info()[b"state"] == state:
                return
        raise AssertionError(f"it is {self.info()[b'state']!r} still")


@pytest.mark.parametrize("storage", ["memory", "ssd"])
def test_segments_that_are_cut_are_a_failing_storage_that_comes_back(
    hotplate_server: ServerProcess, storage: str
) -> None:
    server = Server(hotplate_server, storage)
    server.put("a")
    for path in server.files():
        os.truncate(path, 0)
    with pytest.raises(redis.ResponseError, match="STORAGEIO"):
        server.read("a")
    server.wait_for(b"failing")
    assert server.read("a") is None
    with pytest.raises(redis.ResponseError, match="NOSTORAGE"):
        server.put("b")
    server.wait_for(b"available")
    assert server.read("a") is None
    payload = server.put("a")
    assert server.read("a") == payload
    server.client.close()
    lines = [line for line in hotplate_server.log().splitlines() if "WARNING" in line]
    assert [line.split("storage ")[1].split(":")[0] for line in lines] == [
        f"{storage} is failing",
        f"{storage} lost 1 segment files",
        f"{storage} works again",
    ]


@pytest.mark.parametrize("storage", ["memory", "ssd"])
def test_flipped_bits_cost_one_copy_and_answer_no_wrong_byte(
    hotplate_server: ServerProcess, storage: str
) -> None:
    server = Server(hotplate_server, storage)
    payloads = {name: server.put(name) for name in "abc"}
    _, _, entries, _ = server.call("KVC.GETLOC", "i", "KEYS", 1, "b")
    uri = entries[0][2][0][1].decode()
    path = Path(server.info()[b"path"].decode(), uri.split("/")[3].split("?")[0])
    with path.open("r+b") as file:
        file.seek(int(uri.split("offset=")[1].split("&")[0]) + 5000)
        file.write(bytes(byte ^ 1 for byte in payloads["b"][5000:5001]))
    with pytest.raises(redis.ResponseError, match="CHECKSUM"):
        server.read("b")
    assert server.read("b") is None
    assert {name: server.read(name) for name in "ac"} == {name: payloads[name] for name in "ac"}
    assert server.info()[b"state"] == b"available"
    server.client.close()
