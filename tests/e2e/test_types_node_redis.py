"""node-redis doing what programs ordinarily do with each type of value, in both protocols."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

VERSION = "6.3.1"
SCRIPT = """
const assert = require("node:assert");
const { createClient } = require("redis");
const same = assert.deepEqual;

async function strings(client) {
  same(await client.set("a", "1", { EX: 100 }), "OK");
  assert(await client.ttl("a") > 0);
  same(await client.incrBy("a", 5), 6);
  same(Number(await client.incrByFloat("a", 0.5)), 6.5);
  same(await client.append("b", "hello"), 5);
  same(await client.mSet({ x: "1", y: "2" }), "OK");
  same(await client.mGet(["x", "nothing"]), ["1", null]);
  same(await client.getDel("x"), "1");
  same(await client.setBit("bits", 7, 1), 0);
  same(await client.bitCount("bits"), 1);
  same(await client.pfAdd("seen", ["a", "b"]), 1);
  same(await client.pfCount("seen"), 2);
}

async function hashes(client) {
  same(await client.hSet("h", { a: "1", b: "2" }), 2);
  same({ ...(await client.hGetAll("h")) }, { a: "1", b: "2" });
  same(await client.hmGet("h", ["a", "nothing"]), ["1", null]);
  same(await client.hIncrBy("h", "a", 4), 5);
  same(await client.hExpire("h", ["a", "nothing"], 100), [1, -2]);
  same(await client.hTTL("h", ["a", "b"]), [100, -1]);
  same(await client.hPersist("h", "a"), [1]);
  const found = [];
  for await (const entries of client.hScanIterator("h")) found.push(...entries);
  same(found.map((entry) => entry.field).sort(), ["a", "b"]);
}

async function lists(client) {
  same(await client.rPush("l", ["a", "b", "c"]), 3);
  same(await client.lRange("l", 0, -1), ["a", "b", "c"]);
  same(await client.lPos("l", "c"), 2);
  same(await client.lMove("l", "m", "LEFT", "RIGHT"), "a");
  same(await client.lPopCount("l", 2), ["b", "c"]);
  same({ ...(await client.blPop("m", 1)) }, { key: "m", element: "a" });
  same(await client.blPop("m", 0.01), null);
}

async function sets(client) {
  same(await client.sAdd("s", ["a", "b"]), 2);
  same(await client.sAdd("t", ["b", "c"]), 2);
  same([...(await client.sMembers("s"))].sort(), ["a", "b"]);
  same(await client.sInter(["s", "t"]), ["b"]);
  same(await client.smIsMember("s", ["a", "z"]), [1, 0]);
  same(await client.sInterCard(["s", "t"]), 1);
  const members = [{ score: 1, value: "a" }, { score: 2.5, value: "b" }];
  same(await client.zAdd("z", members), 2);
  same(await client.zScore("z", "b"), 2.5);
  same(await client.zmScore("z", ["a", "nothing"]), [1, null]);
  const ranged = await client.zRangeWithScores("z", 0, -1);
  same(ranged.map((row) => ({ ...row })), [
    { value: "a", score: 1 }, { value: "b", score: 2.5 },
  ]);
  same(await client.zRange("z", "(1", "+inf", { BY: "SCORE" }), ["b"]);
  same(await client.zIncrBy("z", 2, "a"), 3);
  same({ ...(await client.zPopMin("z")) }, { value: "b", score: 2.5 });
  same({ ...(await client.bzPopMax("z", 1)) }, { key: "z", value: "a", score: 3 });
}

async function places(client) {
  same(await client.geoAdd("g", [
    { longitude: 13.361389, latitude: 38.115556, member: "Palermo" },
    { longitude: 15.087269, latitude: 37.502669, member: "Catania" },
  ]), 2);
  assert(Math.abs(await client.geoDist("g", "Palermo", "Catania", "km") - 166.2742) < 0.001);
  const [place] = await client.geoPos("g", "Palermo");
  assert(Math.abs(Number(place.longitude) - 13.361389) < 1e-5);
  const by = { radius: 200, unit: "km" };
  const found = await client.geoSearch("g", { longitude: 15, latitude: 37 }, by, { SORT: "ASC" });
  same(found, ["Catania", "Palermo"]);
}

async function streams(client) {
  const first = await client.xAdd("st", "*", { a: "1" });
  const second = await client.xAdd("st", "*", { a: "2" });
  same(await client.xLen("st"), 2);
  same((await client.xRange("st", "-", "+")).map((row) => row.id), [first, second]);
  const [read] = await client.xRead({ key: "st", id: "0" });
  same(read.name, "st");
  same({ ...read.messages[0].message }, { a: "1" });
  same(await client.xRead({ key: "st", id: "$" }, { BLOCK: 5 }), null);
  same(await client.xGroupCreate("st", "g", "0"), "OK");
  await assert.rejects(client.xGroupCreate("st", "g", "0"), /BUSYGROUP/);
  const [taken] = await client.xReadGroup("g", "c", { key: "st", id: ">" });
  same(taken.messages.map((row) => row.id), [first, second]);
  const pending = await client.xPending("st", "g");
  same([pending.pending, pending.firstId, pending.lastId], [2, first, second]);
  const claimed = await client.xAutoClaim("st", "g", "d", 0, "0-0");
  same(claimed.messages.map((row) => row.id), [first, second]);
  same(await client.xAck("st", "g", [first, second]), 2);
  same((await client.xInfoStream("st")).length, 2);
  same((await client.xInfoGroups("st"))[0].name, "g");
}

async function keys(client) {
  for (let number = 0; number < 300; number++) await client.set(`key:${number}`, "x");
  let count = 0;
  for await (const names of client.scanIterator({ MATCH: "key:*", COUNT: 50 })) {
    count += names.length;
  }
  same(count, 300);
  same(await client.type("key:1"), "string");
  same(await client.expire("key:1", 100), 1);
  same(await client.copy("key:1", "copy"), 1);
  same(await client.multi().incr("counter").get("counter").exec(), [1, "1"]);
  await assert.rejects(client.incr("key:1"), /not an integer/);
}

async function main() {
  for (const RESP of [2, 3]) {
    const client = createClient({ url: process.argv[2], RESP });
    client.on("error", (error) => { throw error; });
    await client.connect();
    await client.flushAll();
    for (const scene of [strings, hashes, lists, sets, places, streams, keys]) await scene(client);
    await client.close();
  }
  console.log("done");
}
main().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def node_redis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `require("redis")` works."""
    npm = shutil.which("npm")
    assert npm is not None, "npm is missing: make system-packages installs it"
    folder = tmp_path_factory.mktemp("node-redis")
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", f"redis@{VERSION}"]
    result = subprocess.run(
        install, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_node_redis_uses_every_type_in_both_protocols(
    hotplate_server: ServerProcess, node_redis: Path
) -> None:
    script = node_redis / "session.js"
    script.write_text(SCRIPT)
    result = subprocess.run(
        ["node", str(script), hotplate_server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
