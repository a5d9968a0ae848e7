"""valkey-glide doing what programs ordinarily do with each type of value, in both protocols.

Its core turns replies into maps, sets and numbers of fixed types: a reply of another shape fails.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from glide import (
    BitFieldGet,
    BitFieldSet,
    BitOffset,
    ExpiryGetEx,
    ExpirySet,
    ExpiryType,
    ExpiryTypeGetEx,
    GeoSearchByRadius,
    GeospatialData,
    GeoUnit,
    GlideClient,
    GlideClientConfiguration,
    IdBound,
    InfBound,
    LexBoundary,
    ListDirection,
    MaxId,
    MinId,
    NodeAddress,
    OrderBy,
    ProtocolVersion,
    RangeByIndex,
    RangeByLex,
    RangeByScore,
    RequestError,
    ScoreBoundary,
    ScoreFilter,
    StreamGroupOptions,
    StreamReadOptions,
    TrimByMaxLen,
    UnsignedEncoding,
)

from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest_asyncio.fixture(params=[ProtocolVersion.RESP2, ProtocolVersion.RESP3])
async def client(
    hotplate_server: ServerProcess, request: pytest.FixtureRequest
) -> AsyncIterator[Any]:
    address = NodeAddress("127.0.0.1", hotplate_server.port)
    configuration = GlideClientConfiguration(
        [address], protocol=request.param, request_timeout=10_000
    )
    client = await GlideClient.create(configuration)
    await client.flushall()
    yield client
    await client.close()


@pytest.mark.asyncio
async def test_strings_bitmaps_and_counts(client: Any) -> None:
    assert await client.set("a", "1", expiry=ExpirySet(ExpiryType.SEC, 100)) == "OK"
    assert 0 < await client.ttl("a") <= 100
    assert await client.getex("a", ExpiryGetEx(ExpiryTypeGetEx.PERSIST, None)) == b"1"
    assert await client.incrby("a", 5) == 6
    assert await client.incrbyfloat("a", 0.5) == 6.5
    assert await client.append("b", "hello") == 5
    assert await client.getrange("b", 0, 1) == b"he"
    assert await client.mset({"x": "1", "y": "2"}) == "OK"
    assert await client.mget(["x", "nothing"]) == [b"1", None]
    assert await client.msetnx({"x": "3", "z": "4"}) is False
    assert await client.getdel("x") == b"1"
    assert await client.lcs("b", "b") == b"hello"
    assert await client.setbit("bits", 7, 1) == 0
    assert await client.bitcount("bits") == 1
    fields = [
        BitFieldSet(UnsignedEncoding(8), BitOffset(0), 200),
        BitFieldGet(UnsignedEncoding(8), BitOffset(0)),
    ]
    assert await client.bitfield("fields", fields) == [0, 200]
    assert await client.pfadd("seen", ["a", "b"]) == 1
    assert await client.pfcount(["seen"]) == 2


@pytest.mark.asyncio
async def test_hashes_whose_fields_expire(client: Any) -> None:
    assert await client.hset("h", {"a": "1", "b": "2", "c": "x"}) == 3
    assert await client.hgetall("h") == {b"a": b"1", b"b": b"2", b"c": b"x"}
    assert await client.hmget("h", ["a", "nothing"]) == [b"1", None]
    assert await client.hincrbyfloat("h", "a", 0.5) == 1.5
    assert await client.hexists("h", "a") is True
    assert sorted(await client.hkeys("h")) == [b"a", b"b", b"c"]
    assert len(await client.hrandfield_withvalues("h", 2)) == 2
    assert await client.hexpire("h", 100, ["a", "nothing"]) == [1, -2]
    assert await client.httl("h", ["a", "b"]) == [100, -1]
    assert await client.hpersist("h", ["a"]) == [1]
    assert await client.hsetex("h", {"s": "1"}, expiry=ExpirySet(ExpiryType.SEC, 60)) == 1
    assert await client.hgetex("h", ["s", "nothing"]) == [b"1", None]
    cursor, pairs = await client.hscan("h", "0", match="c")
    assert (cursor, pairs) == (b"0", [b"c", b"x"])
    assert await client.hdel("h", ["a", "b"]) == 2


@pytest.mark.asyncio
async def test_lists_and_waiting_for_them(client: Any) -> None:
    assert await client.rpush("l", ["a", "b", "c", "d"]) == 4
    assert await client.lrange("l", 0, -1) == [b"a", b"b", b"c", b"d"]
    assert await client.lpos("l", "c") == 2
    assert await client.lmove("l", "m", ListDirection.LEFT, ListDirection.RIGHT) == b"a"
    assert await client.lpop_count("l", 2) == [b"b", b"c"]
    assert await client.lpop("nothing") is None
    assert await client.blpop(["l", "m"], 1) == [b"l", b"d"]
    assert await client.blpop(["l"], 0.01) is None
    assert await client.lmpop(["l", "m"], ListDirection.LEFT) == {b"m": [b"a"]}
    await client.rpush("numbers", ["3", "1", "2"])
    assert await client.sort("numbers") == [b"1", b"2", b"3"]


@pytest.mark.asyncio
async def test_sets(client: Any) -> None:
    assert await client.sadd("s", ["a", "b", "c"]) == 3
    assert await client.sadd("t", ["b", "c", "d"]) == 3
    assert await client.smembers("s") == {b"a", b"b", b"c"}
    assert await client.smismember("s", ["a", "z"]) == [True, False]
    assert await client.sinter(["s", "t"]) == {b"b", b"c"}
    assert await client.sunion(["s", "t"]) == {b"a", b"b", b"c", b"d"}
    assert await client.sintercard(["s", "t"]) == 2
    assert await client.smove("s", "t", "a") is True
    assert await client.spop_count("s", 5) == {b"b", b"c"}
    assert await client.srandmember("nothing") is None
    cursor, members = await client.sscan("t", "0")
    assert (cursor, sorted(members)) == (b"0", [b"a", b"b", b"c", b"d"])


@pytest.mark.asyncio
async def test_sorted_sets(client: Any) -> None:
    assert await client.zadd("z", {"a": 1, "b": 2.5, "c": 4}) == 3
    assert await client.zadd_incr("z", "a", 5) == 6.0
    assert await client.zscore("z", "b") == 2.5
    assert await client.zscore("z", "nothing") is None
    assert await client.zmscore("z", ["a", "nothing"]) == [6.0, None]
    assert await client.zrange("z", RangeByIndex(0, -1)) == [b"b", b"c", b"a"]
    by_score = RangeByScore(ScoreBoundary(2), InfBound.POS_INF)
    expected = {b"b": 2.5, b"c": 4.0, b"a": 6.0}
    assert await client.zrange_withscores("z", by_score) == expected
    assert await client.zrank_withscore("z", "a") == [2, 6.0]
    assert await client.zcount("z", InfBound.NEG_INF, ScoreBoundary(4)) == 2
    assert await client.zunion_withscores(["z"]) == expected
    assert await client.zinterstore("y", ["z"]) == 3
    assert await client.zpopmin("y") == {b"b": 2.5}
    assert await client.zpopmax("y", 1) == {b"a": 6.0}
    assert await client.zmpop(["y"], ScoreFilter.MIN) == [b"y", {b"c": 4.0}]
    assert await client.bzpopmin(["z"], 1) == [b"z", b"b", 2.5]
    await client.zadd("lex", dict.fromkeys("abc", 0))
    by_lex = RangeByLex(LexBoundary("b"), InfBound.POS_INF)
    assert await client.zrange("lex", by_lex) == [b"b", b"c"]
    cursor, pairs = await client.zscan("z", "0")
    assert (cursor, sorted(pairs)) == (b"0", [b"4", b"6", b"a", b"c"])


@pytest.mark.asyncio
async def test_places(client: Any) -> None:
    places = {
        "Palermo": GeospatialData(13.361389, 38.115556),
        "Catania": GeospatialData(15.087269, 37.502669),
    }
    assert await client.geoadd("g", places) == 2
    distance = await client.geodist("g", "Palermo", "Catania", GeoUnit.KILOMETERS)
    assert distance == pytest.approx(166.2742)
    assert await client.geohash("g", ["Palermo", "nothing"]) == [b"sqc8b49rny0", None]
    ((longitude, latitude),) = await client.geopos("g", ["Palermo"])
    assert (longitude, latitude) == pytest.approx((13.361389, 38.115556), abs=1e-5)
    found = await client.geosearch(
        "g",
        GeospatialData(15, 37),
        GeoSearchByRadius(200, GeoUnit.KILOMETERS),
        OrderBy.ASC,
        with_dist=True,
        with_coord=True,
    )
    assert [row[0] for row in found] == [b"Catania", b"Palermo"]
    assert found[0][1][0] == pytest.approx(56.4413)


@pytest.mark.asyncio
async def test_streams_and_their_groups(client: Any) -> None:
    first = await client.xadd("st", [("a", "1")])
    second = await client.xadd("st", [("a", "2")])
    assert await client.xlen("st") == 2
    everything = {first: [[b"a", b"1"]], second: [[b"a", b"2"]]}
    assert await client.xrange("st", MinId(), MaxId()) == everything
    assert await client.xrevrange("st", IdBound(second.decode()), MinId(), 1) == {
        second: [[b"a", b"2"]]
    }
    assert await client.xread({"st": "0"}) == {b"st": everything}
    assert await client.xread({"st": second}, StreamReadOptions(block_ms=5)) is None
    assert await client.xgroup_create("st", "g", "0") == "OK"
    made = StreamGroupOptions(make_stream=True)
    assert await client.xgroup_create("new", "g", "$", made) == "OK"
    with pytest.raises(RequestError, match="BUSYGROUP"):
        await client.xgroup_create("st", "g", "0")
    assert await client.xreadgroup({"st": ">"}, "g", "c") == {b"st": everything}
    assert await client.xpending("st", "g") == [2, first, second, [[b"c", b"2"]]]
    assert await client.xclaim("st", "g", "d", 0, [first]) == {first: [[b"a", b"1"]]}
    cursor, claimed, deleted = await client.xautoclaim("st", "g", "d", 0, "0")
    assert (cursor, claimed, deleted) == (b"0-0", everything, [])
    assert await client.xack("st", "g", [first, second]) == 2
    assert (await client.xinfo_stream("st"))[b"length"] == 2
    assert (await client.xinfo_groups("st"))[0][b"name"] == b"g"
    assert len(await client.xinfo_consumers("st", "g")) == 2
    assert await client.xdel("st", [first]) == 1
    assert await client.xtrim("st", TrimByMaxLen(exact=True, threshold=0)) == 1
    assert await client.xgroup_destroy("st", "g") is True


@pytest.mark.asyncio
async def test_keys_of_any_type(client: Any) -> None:
    await client.mset({f"key:{number}": str(number) for number in range(300)})
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, keys = await client.scan(cursor, match="key:*", count=50)
        found.update(keys)
        if cursor == b"0":
            break
    assert len(found) == 300
    assert await client.type("key:1") == b"string"
    assert await client.exists(["key:1", "nothing"]) == 1
    assert await client.expire("key:1", 100) is True
    assert await client.persist("key:1") is True
    assert await client.rename("key:1", "other") == "OK"
    assert await client.copy("other", "key:1") is True
    assert await client.object_encoding("other") == b"int"
    assert await client.restore("restored", 0, await client.dump("other")) == "OK"
    assert await client.unlink(["other", "restored"]) == 2
    assert await client.dbsize() == 300
    assert b"redis_version" in await client.info()
    assert b"maxmemory" in await client.config_get(["maxmemory*"])
