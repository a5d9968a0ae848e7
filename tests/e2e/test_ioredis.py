"""ioredis: the client that most Node programs use."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

VERSION = "6.0.0"
SCRIPT = """
const assert = require("node:assert");
const Redis = require("ioredis");
async function main() {
  const client = new Redis({ port: Number(process.argv[2]), maxRetriesPerRequest: 1 });
  assert.equal(await client.set("a", "41", "EX", 60), "OK");
  assert.equal(await client.incr("a"), 42);
  assert.deepEqual(await client.mget("a", "missing"), ["42", null]);
  assert.deepEqual(await client.multi().incr("a").get("a").exec(), [[null, 43], [null, "43"]]);
  const replies = await client.pipeline().set("b", "x").incr("b").exec();
  assert.match(replies[1][0].message, /not an integer/);
  const payload = Buffer.from(Array.from({ length: 65536 }, (_, i) => i % 256));
  await client.set("bytes", payload);
  assert.ok(payload.equals(await client.getBuffer("bytes")));
  await assert.rejects(client.call("KVC.READ", "none", "key"), /NOINSTANCE/);
  await client.quit();
  console.log("done");
}
main().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def ioredis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `require("ioredis")` works."""
    npm = shutil.which("npm")
    assert npm is not None, "npm is missing: make system-packages installs it"
    folder = tmp_path_factory.mktemp("ioredis")
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", f"ioredis@{VERSION}"]
    result = subprocess.run(
        install, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_ioredis_stores_counts_pipelines_and_reads_errors(
    hotplate_server: ServerProcess, ioredis: Path
) -> None:
    script = ioredis / "session.js"
    script.write_text(SCRIPT)
    result = subprocess.run(
        ["node", str(script), str(hotplate_server.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip() == "done"
