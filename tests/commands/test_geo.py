"""Commands on points, over both protocols. Expected values are the documentation's."""

from typing import Any

import pytest
from tests.testing.console import Console

from hotplate.errors import CommandError
from hotplate.keyspace.database import Database

SICILY = "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"
AROUND = "FROMLONLAT 15 37 BYRADIUS 200 km"


class Listener:
    """Remembers keyspace events."""

    def __init__(self, database: Database) -> None:
        self.events: list[tuple[bytes, str]] = []
        database.observer = self

    def __call__(self, index: int, key: bytes, event: str) -> None:
        self.events.append((key, event))


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    console = Console(resp=request.param)
    assert console(SICILY) == 2
    return console


def point(console: Console, longitude: bytes, latitude: bytes) -> list[Any]:
    """A point as the console's protocol has it."""
    if console.ctx.resp == 3:
        return [float(longitude), float(latitude)]
    return [longitude, latitude]


def test_points_are_scores_of_a_sorted_set(console: Console) -> None:
    assert console("TYPE s") == b"zset"
    assert float(console("ZSCORE s Palermo")) == 3479099956230698
    assert console("GEOHASH s Palermo none Catania") == [b"sqc8b49rny0", None, b"sqdtr74hyu0"]
    assert console("GEOPOS s Palermo") == [
        point(console, b"13.36138933897018433", b"38.11555639549629859")
    ]
    assert console.execute([b"GEOPOS", b"none", b"a"]) == (
        b"*1\r\n_\r\n" if console.ctx.resp == 3 else b"*1\r\n*-1\r\n"
    )
    assert console("GEOPOS s") == []
    assert console("GEOHASH none") == []


def test_coordinates_have_all_their_digits_in_both_protocols(console: Console) -> None:
    frames = console.execute([b"GEOPOS", b"s", b"Catania"])
    assert b"15.08726745843887329\r\n" in frames
    assert b"37.50266842333162032\r\n" in frames
    console("GEOADD o 0 0 origin")
    frames = console.execute([b"GEOPOS", b"o", b"origin"])
    assert frames.startswith(b"*1\r\n*2\r\n," if console.ctx.resp == 3 else b"*1\r\n*2\r\n$")


def test_distances_come_in_the_unit_that_is_asked_for(console: Console) -> None:
    assert console("GEODIST s Palermo Catania") == b"166274.1516"
    assert console("GEODIST s Palermo Catania KM") == b"166.2742"
    assert console("GEODIST s Palermo Catania mi") == b"103.3182"
    assert console("GEODIST s Palermo none") is None
    assert console("GEODIST none a b") is None


def test_options_of_adding_are_those_of_zadd(console: Console) -> None:
    assert console("GEOADD s NX 0 0 Palermo 1 1 new") == 1
    assert console("GEODIST s Palermo Catania km") == b"166.2742"
    assert console("GEOADD s XX CH 0 0 Palermo 1 1 other") == 1
    assert console("GEOADD none XX 0 0 a") == 0
    assert console("EXISTS none") == 0


def test_a_search_answers_what_it_is_asked_to_show(console: Console) -> None:
    assert console(f"GEOSEARCH s {AROUND} ASC") == [b"Catania", b"Palermo"]
    assert console(f"GEOSEARCH s {AROUND} DESC COUNT 1") == [b"Palermo"]
    assert console(f"GEOSEARCH s {AROUND} COUNT 1") == [b"Catania"]
    assert len(console(f"GEOSEARCH s {AROUND} COUNT 1 ANY")) == 1
    assert console(f"GEOSEARCH s {AROUND} ASC WITHDIST WITHHASH WITHCOORD COUNT 1") == [
        [
            *(b"Catania", b"56.4413", 3479447370796909),
            point(console, b"15.08726745843887329", b"37.50266842333162032"),
        ]
    ]
    assert console("GEOSEARCH s FROMMEMBER Palermo BYBOX 400 100 km") == [b"Palermo"]
    assert sorted(console("GEOSEARCH s FROMMEMBER Palermo BYBOX 400 200 km")) == [
        *(b"Catania", b"Palermo")
    ]
    assert console("GEOSEARCH none FROMMEMBER a BYRADIUS 1 m") == []
    assert console("GEOSEARCH s FROMLONLAT 0 0 BYRADIUS 1 m") == []


def test_the_older_searches_find_the_same(console: Console) -> None:
    assert console("GEORADIUS s 15 37 200 km ASC") == [b"Catania", b"Palermo"]
    assert console("GEORADIUS_RO s 15 37 100 km WITHDIST") == [[b"Catania", b"56.4413"]]
    assert console("GEORADIUSBYMEMBER s Palermo 100 km") == [b"Palermo"]
    assert console("GEORADIUSBYMEMBER_RO s Palermo 200 km DESC") == [b"Catania", b"Palermo"]
    assert console("GEORADIUSBYMEMBER none a 200 km") == []


def test_what_is_found_can_be_stored(console: Console) -> None:
    events = Listener(console.ctx.db).events
    assert console(f"GEOSEARCHSTORE d s {AROUND}") == 2
    assert console("GEODIST d Palermo Catania km") == b"166.2742"
    assert console(f"GEOSEARCHSTORE d s {AROUND} COUNT 1 STOREDIST") == 1
    assert float(console("ZSCORE d Catania")) == pytest.approx(56.4412578701582)
    assert console("GEORADIUS s 15 37 200 km STORE d") == 2
    assert console("GEORADIUSBYMEMBER s Palermo 1 km STOREDIST d") == 1
    assert console("ZRANGE d 0 -1") == [b"Palermo"]
    assert console("GEORADIUS none 15 37 200 km STORE d") == 0
    assert console("EXISTS d") == 0
    assert events == [
        *((b"d", "geosearchstore"), (b"d", "geosearchstore")),
        *((b"d", "georadiusstore"), (b"d", "georadiusstore"), (b"d", "del")),
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("GEOADD s 1 2", "ERR wrong number of arguments for 'geoadd' command"),
        ("GEOADD s 1 2 a 3", "ERR syntax error"),
        ("GEOADD s NX XX 1 2 a", "ERR syntax error"),
        ("GEOADD s NX CH XX", "ERR syntax error"),
        ("GEOADD s 181 2 a", "ERR invalid longitude,latitude pair 181.000000,2.000000"),
        ("GEOADD s 1 -86 a", "ERR invalid longitude,latitude pair 1.000000,-86.000000"),
        ("GEOADD s x 1 a", "ERR value is not a valid float"),
        ("GEODIST s a b yd", "ERR unsupported unit provided. please use M, KM, FT, MI"),
        ("GEODIST s a b m x", "ERR syntax error"),
        ("GEOPOS text a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("GEORADIUS s 1 2 x m", "ERR need numeric radius"),
        ("GEORADIUS s 1 2 -1 m", "ERR radius cannot be negative"),
        ("GEORADIUS s 1 2 1 m COUNT 0", "ERR COUNT must be > 0"),
        ("GEORADIUS s 1 2 1 m ANY", "ERR the ANY argument requires COUNT argument"),
        ("GEORADIUS_RO s 1 2 1 m STORE d", "ERR syntax error"),
        (
            "GEORADIUS s 1 2 1 m STORE d WITHDIST",
            "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD"
            " options",
        ),
        (
            "GEOSEARCHSTORE d s FROMLONLAT 1 2 BYRADIUS 1 m WITHHASH",
            "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        ),
        ("GEORADIUSBYMEMBER s none 1 m", "ERR could not decode requested zset member"),
        (
            "GEOSEARCH s FROMMEMBER none BYRADIUS 1 m",
            "ERR could not decode requested zset member",
        ),
        (
            "geoSearch s BYRADIUS 1 m ASC WITHDIST",
            "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geoSearch",
        ),
        (
            "GEOSEARCH s FROMLONLAT 1 2 ASC WITHDIST",
            "ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH",
        ),
        ("GEOSEARCH s FROMLONLAT 1 2 FROMMEMBER Palermo BYRADIUS 1 m", "ERR syntax error"),
        ("GEOSEARCH s FROMLONLAT 1 2 BYRADIUS 1 m BYBOX 1 1 m", "ERR syntax error"),
        ("GEOSEARCH s FROMLONLAT 1 2 BYBOX x 1 m", "ERR need numeric width"),
        ("GEOSEARCH s FROMLONLAT 1 2 BYBOX 1 x m", "ERR need numeric height"),
        ("GEOSEARCH s FROMLONLAT 1 2 BYBOX 1 -1 m", "ERR height or width cannot be negative"),
        ("GEOSEARCH s FROMLONLAT 1 2 BYRADIUS 1 m STOREDIST", "ERR syntax error"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    console: Console, command: str, message: str
) -> None:
    console("SET text x")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError) as refusal:
        console(command)
    assert str(refusal.value) == message
    assert console.ctx.db.dirty == changes
    assert sorted(console("KEYS *")) == [b"s", b"text"]
    assert console("ZCARD s") == 2
