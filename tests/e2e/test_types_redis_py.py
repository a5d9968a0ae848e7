"""redis-py doing what programs ordinarily do with each type of value, in both protocols.

Scores, maps and sets must come as what the client makes of them, whichever protocol it speaks.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from hotplate.bench.process import ServerProcess

pytestmark = pytest.mark.e2e


@pytest.fixture(params=[2, 3])
def client(hotplate_server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Typed as anything: the stubs say that most replies may be awaitable."""
    with redis.Redis(
        port=hotplate_server.port, protocol=request.param, decode_responses=True
    ) as client:
        client.flushall()
        yield client


def scores(reply: Any) -> list[tuple[str, float]]:
    """Members with scores: pairs, which RESP3 brings as lists."""
    return [(member, float(score)) for member, score in reply]


def test_strings(client: Any) -> None:
    assert client.set("a", "1", ex=100, get=True) is None
    assert client.set("a", "2", nx=True) is None
    assert client.set("a", "3", xx=True, keepttl=True)
    assert 0 < client.ttl("a") <= 100
    assert client.incrby("a", 5) == 8
    assert client.incrbyfloat("a", 0.5) == 8.5
    assert client.append("b", "hello") == 5
    assert client.setrange("b", 5, " world") == 11
    assert client.getrange("b", 0, 4) == "hello"
    assert client.strlen("b") == 11
    assert client.mset({"x": 1, "y": 2})
    assert client.mget("x", "y", "nothing") == ["1", "2", None]
    assert client.msetnx({"x": 1, "z": 2}) is False
    assert client.getdel("x") == "1"
    assert client.getex("y", px=5000) == "2"
    assert 0 < client.pttl("y") <= 5000
    client.mset({"l1": "ohmytext", "l2": "mynewtext"})
    assert client.lcs("l1", "l2") == "mytext"
    matches: Any = client.lcs("l1", "l2", idx=True)
    assert matches in (
        {"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len": 6},
        ["matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len", 6],
    )


def test_bitmaps_and_counts_of_distinct_things(client: Any) -> None:
    assert client.setbit("bits", 7, 1) == 0
    assert client.getbit("bits", 7) == 1
    assert client.bitcount("bits") == 1
    assert client.bitpos("bits", 1) == 7
    assert client.bitop("NOT", "other", "bits") == 1
    field = client.bitfield("fields")
    assert field.set("u8", "#0", 255).incrby("u8", "#0", 10, "SAT").get("u8", 0).execute() == [
        *(0, 255, 255),
    ]
    assert client.bitfield_ro("fields", "u4", 0) == [15]
    assert client.pfadd("seen", "a", "b", "c") == 1
    assert client.pfadd("also", "c", "d") == 1
    assert client.pfcount("seen", "also") == 4
    assert client.pfmerge("all", "seen", "also")
    assert client.pfcount("all") == 4


def test_hashes_whose_fields_expire(client: Any) -> None:
    assert client.hset("h", mapping={"a": "1", "b": "2", "c": "x"}) == 3
    assert client.hgetall("h") == {"a": "1", "b": "2", "c": "x"}
    assert client.hmget("h", ["a", "nothing"]) == ["1", None]
    assert client.hincrby("h", "a", 4) == 5
    assert client.hincrbyfloat("h", "b", 0.5) == 2.5
    assert client.hsetnx("h", "a", 9) == 0
    assert (client.hlen("h"), client.hstrlen("h", "c"), client.hexists("h", "z")) == (3, 1, False)
    assert sorted(client.hkeys("h")) == ["a", "b", "c"]
    assert sorted(client.hvals("h")) == ["2.5", "5", "x"]
    assert client.hrandfield("h") in ("a", "b", "c")
    assert client.hexpire("h", 100, "a", "nothing") == [1, -2]
    assert client.hpexpire("h", 50_000, "b") == [1]
    assert client.httl("h", "a", "b", "c") == [100, 50, -1]
    assert 0 < client.hpttl("h", "b")[0] <= 50_000
    assert client.hpersist("h", "b") == [1]
    assert client.hexpireat("h", 4102444800, "b") == [1]
    assert client.hexpiretime("h", "b") == [4102444800]
    assert client.hsetex("h", mapping={"s": "1"}, ex=60) == 1
    assert client.hgetex("h", "s", persist=True) == ["1"]
    assert client.hgetdel("h", "s", "nothing") == ["1", None]
    assert client.hdel("h", "a", "b") == 2
    assert dict(client.hscan_iter("h")) == {"c": "x"}
    assert client.hscan("h", no_values=True)[1] == ["c"]


def test_lists_and_waiting_for_them(client: Any) -> None:
    assert client.rpush("l", "a", "b", "c") == 3
    assert client.lpush("l", "z") == 4
    assert client.lrange("l", 0, -1) == ["z", "a", "b", "c"]
    assert client.lindex("l", 1) == "a"
    assert client.lpos("l", "c") == 3
    assert client.lpos("l", "c", count=0) == [3]
    assert client.linsert("l", "BEFORE", "c", "x") == 5
    assert client.lset("l", 0, "Z")
    assert client.lrem("l", 1, "x") == 1
    assert client.ltrim("l", 0, 3)
    assert client.lmove("l", "m", "LEFT", "RIGHT") == "Z"
    assert client.lpop("l", 2) == ["a", "b"]
    assert client.rpop("l") == "c"
    assert client.lpop("l") is None
    assert client.blpop(["l", "m"], timeout=1) in (("m", "Z"), ["m", "Z"])
    assert client.blpop("l", timeout=0.01) is None
    client.rpush("l", 1, 2, 3)
    assert client.lmpop(2, "none", "l", direction="LEFT", count=2) == ["l", ["1", "2"]]
    assert client.blmpop(1, 1, "l", direction="RIGHT") == ["l", ["3"]]
    client.rpush("numbers", 3, 1, 2)
    assert client.sort("numbers", desc=True) == ["3", "2", "1"]
    assert client.sort("numbers", store="sorted") == 3


def test_sets(client: Any) -> None:
    assert client.sadd("s", "a", "b", "c") == 3
    assert client.sadd("t", "b", "c", "d") == 3
    assert client.smembers("s") == {"a", "b", "c"}
    assert client.sismember("s", "a") == 1
    assert client.smismember("s", ["a", "z"]) == [1, 0]
    assert set(client.sinter("s", "t")) == {"b", "c"}
    assert set(client.sunion("s", "t")) == {"a", "b", "c", "d"}
    assert set(client.sdiff("s", "t")) == {"a"}
    assert client.sinterstore("u", "s", "t") == 2
    assert client.sintercard(2, ["s", "t"], limit=1) == 1
    assert client.smove("s", "t", "a") == 1
    assert client.srandmember("s") in ("b", "c")
    assert set(client.spop("u", 5)) == {"b", "c"}
    assert client.scard("u") == 0
    assert set(client.sscan_iter("t", match="[ab]")) == {"a", "b"}
    assert client.srem("t", "a", "b") == 2


def test_sorted_sets(client: Any) -> None:
    assert client.zadd("z", {"a": 1, "b": 2.5, "c": float("inf")}) == 3
    assert client.zadd("z", {"a": 5}, gt=True, ch=True) == 1
    assert client.zadd("z", {"a": 1}, incr=True) == 6.0
    assert client.zincrby("z", 0.5, "b") == 3.0
    assert client.zscore("z", "c") == float("inf")
    assert client.zmscore("z", ["a", "nothing"]) == [6.0, None]
    assert client.zrange("z", 0, -1) == ["b", "a", "c"]
    expected = [("b", 3.0), ("a", 6.0), ("c", float("inf"))]
    assert scores(client.zrange("z", 0, -1, withscores=True)) == expected
    assert scores(client.zrange("z", 2, 9, byscore=True, withscores=True)) == expected[:2]
    assert scores(client.zrevrange("z", 0, 0, withscores=True)) == expected[2:]
    assert client.zrank("z", "a") == 1
    assert list(map(float, client.zrank("z", "a", withscore=True))) == [1.0, 6.0]
    assert client.zcount("z", "-inf", "(6") == 1
    assert client.zrangestore("y", "z", 0, 1) == 2
    assert scores(client.zunion(["z", "y"], withscores=True)) == [
        *(("b", 6.0), ("a", 12.0), ("c", float("inf"))),
    ]
    assert scores(client.zinter(["z", "y"], aggregate="MAX", withscores=True)) == expected[:2]
    assert client.zdiff(["z", "y"]) == ["c"]
    assert client.zunionstore("u", {"z": 2, "y": 1}) == 3
    assert scores(client.zpopmin("u", 1)) == [("b", 9.0)]
    assert scores(client.zpopmax("u", 1)) == [("c", float("inf"))]
    popped = client.zmpop(1, ["u"], min=True)
    assert popped[0] == "u"
    assert scores(popped[1]) == [("a", 18.0)]
    name, member, score = client.bzpopmin(["none", "y"], timeout=1)
    assert (name, member, float(score)) == ("y", "b", 3.0)
    client.zadd("lex", dict.fromkeys("abcd", 0))
    assert client.zrangebylex("lex", "[b", "(d") == ["b", "c"]
    assert client.zremrangebyrank("lex", 0, 1) == 2
    assert dict(client.zscan_iter("z"))["b"] == 3.0
    assert client.zrandmember("lex") in ("c", "d")


def test_places(client: Any) -> None:
    places = (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")
    assert client.geoadd("g", places) == 2
    assert client.geodist("g", "Palermo", "Catania", unit="km") == pytest.approx(166.2742)
    assert client.geohash("g", "Palermo") == ["sqc8b49rny0"]
    ((longitude, latitude),) = client.geopos("g", "Palermo")
    assert (longitude, latitude) == pytest.approx((13.361389, 38.115556), abs=1e-5)
    found = client.geosearch(
        "g", longitude=15, latitude=37, radius=200, unit="km", sort="ASC", withdist=True
    )
    assert [name for name, _ in found] == ["Catania", "Palermo"]
    assert [float(distance) for _, distance in found] == pytest.approx([56.4413, 190.4424])
    assert client.geosearchstore("near", "g", member="Catania", radius=9, unit="km") == 1
    assert client.georadiusbymember("g", "Palermo", 200, unit="km") == ["Palermo", "Catania"]


def test_streams_and_their_groups(client: Any) -> None:
    first = client.xadd("st", {"a": "1"})
    second = client.xadd("st", {"a": "2"}, maxlen=100, approximate=True)
    assert client.xlen("st") == 2
    assert client.xrange("st") == [(first, {"a": "1"}), (second, {"a": "2"})]
    assert client.xrevrange("st", count=1) == [(second, {"a": "2"})]
    assert read(client.xread({"st": "0"}, count=1)) == [(first, {"a": "1"})]
    assert not client.xread({"st": "$"}, block=5)
    assert client.xgroup_create("st", "g", id="0")
    with pytest.raises(redis.ResponseError, match="BUSYGROUP"):
        client.xgroup_create("st", "g", id="0")
    assert [i for i, _ in read(client.xreadgroup("g", "c", {"st": ">"}))] == [first, second]
    pending = client.xpending("st", "g")
    assert (pending["pending"], pending["min"], pending["max"]) == (2, first, second)
    (row,) = client.xpending_range("st", "g", first, first, 1)
    assert (row["message_id"], row["consumer"], row["times_delivered"]) == (first, "c", 1)
    assert client.xclaim("st", "g", "d", 0, [first]) == [(first, {"a": "1"})]
    cursor, claimed, deleted = client.xautoclaim("st", "g", "d", 0)
    assert (cursor, len(claimed), deleted) == ("0-0", 2, [])
    assert client.xack("st", "g", first, second) == 2
    assert client.xinfo_stream("st")["length"] == 2
    assert client.xinfo_groups("st")[0]["name"] == "g"
    assert {row["name"] for row in client.xinfo_consumers("st", "g")} == {"c", "d"}
    assert client.xinfo_stream("st", full=True)["groups"]
    assert client.xdel("st", first) == 1
    assert client.xtrim("st", maxlen=0) == 1
    assert client.xgroup_delconsumer("st", "g", "d") == 0
    assert client.xgroup_destroy("st", "g")


def read(reply: Any) -> list[tuple[str, dict[str, str]]]:
    """The entries of one stream: a list of pairs, or (RESP3) a map with a list of lists in it."""
    if isinstance(reply, dict):
        ((entries,),) = (
            reply.values()
            if reply and isinstance(next(iter(reply.values()))[0], list)
            else [tuple(reply.values())]
        )
        return [(entry_id, fields) for entry_id, fields in entries]
    ((_, entries),) = reply
    return [(entry_id, fields) for entry_id, fields in entries]


def test_keys_of_any_type(client: Any) -> None:
    client.mset({f"key:{number}": number for number in range(300)})
    client.sadd("set", "a")
    assert len(list(client.scan_iter(match="key:*", count=50))) == 300
    assert list(client.scan_iter(_type="set")) == ["set"]
    assert client.type("set") == "set"
    assert client.exists("set", "nothing", "key:1") == 2
    assert client.expire("set", 100, nx=True)
    assert client.persist("set")
    assert client.rename("set", "other")
    assert client.renamenx("other", "key:1") is False
    assert client.copy("other", "copy")
    assert client.object("encoding", "key:1") == "int"
    assert client.touch("copy", "nothing") == 1
    assert client.unlink("copy", "other") == 2
    assert client.dbsize() == 300
    assert client.randomkey().startswith("key:")
    assert client.info("server")["redis_version"]
    assert client.config_get("maxmemory*")["maxmemory"] == "0"
    assert client.memory_usage("key:1") > 0
    with redis.Redis.from_url(client_url(client)) as binary:
        assert binary.restore("restored", 0, binary.dump("key:1"))
    assert client.get("restored") == "1"
    assert client.time()[0] > 0
    assert client.command_count() > 250


def client_url(client: Any) -> str:
    """Of the server that a client is connected to."""
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}"
