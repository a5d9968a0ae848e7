"""Commands on sorted sets, over both protocols."""

from typing import Any

import pytest
from tests.testing.console import Console

from hotplate.errors import CommandError
from hotplate.keyspace.database import Database

MANY = 300


class Listener:
    """Remembers keyspace events."""

    def __init__(self, database: Database) -> None:
        self.events: list[tuple[bytes, str]] = []
        database.observer = self

    def __call__(self, index: int, key: bytes, event: str) -> None:
        self.events.append((key, event))


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(resp=request.param)


@pytest.fixture
def events(console: Console) -> list[tuple[bytes, str]]:
    return Listener(console.ctx.db).events


def scored(console: Console, *pairs: tuple[str, float]) -> list[Any]:
    """Members with scores as the console's protocol has them."""
    if console.ctx.resp == 3:
        return [[member.encode(), score] for member, score in pairs]
    return [item for member, score in pairs for item in (member.encode(), b"%g" % score)]


def number(console: Console, value: float) -> Any:
    """One score."""
    return value if console.ctx.resp == 3 else b"%g" % value


def test_members_stand_by_score_then_by_bytes(console: Console) -> None:
    assert console("ZADD z 2 b 1 c 2 a 1 \xff -inf low +inf high -0 zero 0 null") == 8
    order = ["low", "null", "zero", "c", "\xff", "a", "b", "high"]
    assert console("ZRANGE z 0 -1") == [name.encode() for name in order]
    assert console("ZREVRANGE z 0 1") == [b"high", b"b"]
    assert console("ZCARD z") == 8
    assert console("ZRANGE none 0 -1") == []


def test_adding_again_moves_and_counts_only_new_members(console: Console) -> None:
    assert console("ZADD z 1 a 2 b") == 2
    assert console("ZADD z 3 a 2 b 4 c") == 1
    assert console("ZADD z CH 5 a 2 b 6 d") == 2
    assert console("ZRANGE z 0 -1 WITHSCORES") == scored(
        console, ("b", 2), ("c", 4), ("a", 5), ("d", 6)
    )
    assert console("ZADD z 1 x 2 x 3 x") == 1
    assert console("ZSCORE z x") == number(console, 3)


@pytest.mark.parametrize(
    ("command", "reply", "score"),
    [
        ("ZADD z NX 9 m", 0, 5),
        ("ZADD z XX 9 m", 0, 9),
        ("ZADD z XX CH 9 m", 1, 9),
        ("ZADD z GT 9 m", 0, 9),
        ("ZADD z GT CH 1 m", 0, 5),
        ("ZADD z LT CH 1 m", 1, 1),
        ("ZADD z LT 9 m", 0, 5),
        ("ZADD z xx gt ch 9 m", 1, 9),
    ],
)
def test_conditions_decide_what_is_written(
    console: Console, command: str, reply: int, score: float
) -> None:
    console("ZADD z 5 m")
    assert console(command) == reply
    assert console("ZSCORE z m") == number(console, score)


def test_conditions_let_missing_members_and_keys_be(console: Console) -> None:
    assert console("ZADD z XX 1 a") == 0
    assert console("ZADD z XX INCR 1 a") is None
    assert console("EXISTS z") == 0
    assert console("ZADD z GT 1 a") == 1
    assert console("ZADD z XX 1 b") == 0
    assert console("ZADD z XX INCR 1 b") is None
    assert console("ZCARD z") == 1


def test_increments_answer_the_new_score_or_null(console: Console) -> None:
    assert console("ZINCRBY z 1.5 a") == number(console, 1.5)
    assert console("ZINCRBY z -2 a") == number(console, -0.5)
    assert console("ZADD z INCR 3 a") == number(console, 2.5)
    assert console("ZADD z NX INCR 3 a") is None
    assert console("ZADD z LT INCR 3 a") is None
    assert console("ZADD z GT INCR 3 a") == number(console, 5.5)
    assert console("ZINCRBY z 0 a") == number(console, 5.5)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("ZADD z 1", "ERR wrong number of arguments for 'zadd' command"),
        ("ZADD z 1 a 2", "ERR syntax error"),
        ("ZADD z NX XX", "ERR syntax error"),
        ("ZADD z NX XX 1 a", "ERR XX and NX options at the same time are not compatible"),
        ("ZADD z NX GT 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD z LT GT 1 a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD z INCR 1 a 2 b", "ERR INCR option supports a single increment-element pair"),
        ("ZADD z 1 a x b", "ERR value is not a valid float"),
        ("ZADD z nan a", "ERR value is not a valid float"),
        ("ZADD z 1_0 a", "ERR value is not a valid float"),
        ("ZINCRBY z -inf big", "ERR resulting score is not a number (NaN)"),
        ("ZADD z INCR -inf big", "ERR resulting score is not a number (NaN)"),
        ("ZADD s 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("ZINCRBY s 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("ZRANGE s 0 1", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("ZRANGE z a 1", "ERR value is not an integer or out of range"),
        ("ZRANGE z 0 1 FOO", "ERR syntax error"),
        ("ZRANGE z 0 1 LIMIT 1", "ERR syntax error"),
        (
            "ZRANGE z 0 1 LIMIT 0 1",
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ),
        (
            "ZRANGE z - + BYLEX WITHSCORES",
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("ZRANGE z 0 x BYSCORE", "ERR min or max is not a float"),
        ("ZRANGEBYSCORE z nan 1", "ERR min or max is not a float"),
        ("ZRANGEBYSCORE z 0 1 REV", "ERR syntax error"),
        ("ZRANGEBYLEX z a b", "ERR min or max not valid string range item"),
        ("ZRANGEBYLEX z - +x", "ERR min or max not valid string range item"),
        ("ZRANGESTORE d z 0 1 WITHSCORES", "ERR syntax error"),
        ("ZRANK z a WITHSCORES", "ERR syntax error"),
        ("ZRANK z a WITHSCORE x", "ERR syntax error"),
        ("ZPOPMIN z -1", "ERR value is out of range, must be positive"),
        ("ZPOPMIN z 1 2", "ERR syntax error"),
        ("ZMPOP 0 z MIN", "ERR numkeys should be greater than 0"),
        ("ZMPOP 1 z MID", "ERR syntax error"),
        ("ZMPOP 2 z MIN", "ERR syntax error"),
        ("ZMPOP 1 z MIN COUNT 0", "ERR count should be greater than 0"),
        ("ZMPOP 1 z MIN COUNT 1 COUNT 1", "ERR syntax error"),
        ("ZRANDMEMBER z 1 FOO", "ERR syntax error"),
        ("ZRANDMEMBER z 4611686018427387905 WITHSCORES", "ERR value is out of range"),
        ("ZUNION 0 z", "ERR at least 1 input key is needed for 'zunion' command"),
        ("ZINTERSTORE d 0 z", "ERR at least 1 input key is needed for 'zinterstore' command"),
        ("ZUNION 2 z", "ERR syntax error"),
        ("ZUNION 1 z WEIGHTS x", "ERR weight value is not a float"),
        ("ZUNION 1 z AGGREGATE AVG", "ERR syntax error"),
        ("ZDIFF 1 z WEIGHTS 1", "ERR syntax error"),
        ("ZUNIONSTORE d 1 z WITHSCORES", "ERR syntax error"),
        ("ZUNIONSTORE d 1 s", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("ZINTERCARD 1 z LIMIT -1", "ERR LIMIT can't be negative"),
        ("ZSCAN z x", "ERR invalid cursor"),
        ("ZREMRANGEBYRANK z 0 x", "ERR value is not an integer or out of range"),
        ("ZREMRANGEBYSCORE z 0 x", "ERR min or max is not a float"),
        ("ZREMRANGEBYLEX z 0 x", "ERR min or max not valid string range item"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    console: Console, command: str, message: str
) -> None:
    console("SET s text")
    console("ZADD z 1 a inf big")
    changes = console.ctx.db.dirty
    with pytest.raises(CommandError) as refusal:
        console(command)
    assert str(refusal.value) == message
    assert console.ctx.db.dirty == changes
    assert sorted(console("KEYS *")) == [b"s", b"z"]
    assert console("ZRANGE z 0 -1") == [b"a", b"big"]


def test_the_last_member_takes_the_key_along(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    emptying = {
        "ZREM z a": "zrem",
        "ZPOPMIN z": "zpopmin",
        "ZPOPMAX z 5": "zpopmax",
        "ZMPOP 1 z MAX": "zpopmax",
        "ZREMRANGEBYRANK z 0 -1": "zremrangebyrank",
        "ZREMRANGEBYSCORE z -inf inf": "zremrangebyscore",
        "ZREMRANGEBYLEX z - +": "zremrangebylex",
    }
    for command, event in emptying.items():
        console("ZADD z 1 a")
        events.clear()
        console(command)
        assert events == [(b"z", event), (b"z", "del")]
        assert console("EXISTS z") == 0


def test_changes_are_told_by_their_names(console: Console, events: list[tuple[bytes, str]]) -> None:
    console("ZADD z 1 a 2 b")
    console("ZADD z 1 a")
    console("ZINCRBY z 1 a")
    console("ZINCRBY z 0 a")
    console("ZREM z none")
    console("ZUNIONSTORE d 1 z")
    console("ZINTERSTORE d 1 z")
    console("ZDIFFSTORE d 1 z")
    console("ZRANGESTORE d z 0 -1")
    console("ZRANGESTORE d z 5 9")
    console("ZUNIONSTORE d 1 none")
    assert [event for _, event in events] == [
        *("zadd", "zincr", "zunionstore", "zinterstore", "zdiffstore", "zrangestore", "del"),
    ]


def test_ranges_by_score_include_their_ends_unless_told(console: Console) -> None:
    console("ZADD z 1 a 2 b 3 c 4 d 5 e")
    assert console("ZRANGEBYSCORE z 2 4") == [b"b", b"c", b"d"]
    assert console("ZRANGEBYSCORE z (2 (4") == [b"c"]
    assert console("ZRANGEBYSCORE z -inf +inf LIMIT 1 2") == [b"b", b"c"]
    assert console("ZRANGEBYSCORE z -inf +inf LIMIT -1 2") == []
    assert console("ZREVRANGEBYSCORE z 4 2 LIMIT 1 -1") == [b"c", b"b"]
    assert console("ZRANGE z 4 (2 BYSCORE REV WITHSCORES") == scored(console, ("d", 4), ("c", 3))
    assert console("ZRANGEBYSCORE z 4 2") == []
    assert console("ZCOUNT z (1 inf") == 4
    assert console("ZCOUNT z 5 1") == 0


def test_ranges_by_bytes_need_equal_scores(console: Console) -> None:
    console("ZADD z 0 a 0 b 0 c 0 d")
    assert console("ZRANGEBYLEX z - +") == [b"a", b"b", b"c", b"d"]
    assert console("ZRANGEBYLEX z [b (d") == [b"b", b"c"]
    assert console("ZREVRANGEBYLEX z (d [b LIMIT 0 1") == [b"c"]
    assert console("ZRANGE z [c - BYLEX REV") == [b"c", b"b", b"a"]
    assert console("ZRANGEBYLEX z + -") == []
    assert console("ZLEXCOUNT z (a +") == 3
    assert console("ZREMRANGEBYLEX z [b [c") == 2
    assert console("ZRANGE z 0 -1") == [b"a", b"d"]


def test_a_range_is_stored_with_its_scores(console: Console) -> None:
    console("ZADD z 1 a 2 b 3 c 4 d")
    console("SET d text")
    assert console("ZRANGESTORE d z 1 2") == 2
    assert console("ZRANGE d 0 -1 WITHSCORES") == scored(console, ("b", 2), ("c", 3))
    assert console("ZRANGESTORE d z 9 2 BYSCORE REV LIMIT 1 1") == 1
    assert console("ZRANGE d 0 -1") == [b"c"]
    assert console("ZRANGESTORE d none 0 -1") == 0
    assert console("EXISTS d") == 0
    assert console("ZRANGESTORE z z 0 0") == 1
    assert console("ZRANGE z 0 -1") == [b"a"]


def test_ranks_count_from_either_end(console: Console) -> None:
    console("ZADD z 1 a 2 b 3 c")
    assert console("ZRANK z c") == 2
    assert console("ZREVRANK z c") == 0
    assert console("ZRANK z none") is None
    assert console("ZRANK z b WITHSCORE") == [1, number(console, 2)]
    assert console("ZREVRANK z a withscore") == [2, number(console, 1)]
    assert console.execute([b"ZRANK", b"z", b"x", b"WITHSCORE"]) == (
        b"_\r\n" if console.ctx.resp == 3 else b"*-1\r\n"
    )


def test_popping_takes_from_the_ends(console: Console) -> None:
    console("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f")
    assert console("ZPOPMIN z") == [b"a", number(console, 1)]
    assert console("ZPOPMAX z") == [b"f", number(console, 6)]
    assert console("ZPOPMAX z 2") == scored(console, ("e", 5), ("d", 4))
    assert console("ZPOPMIN z 0") == []
    assert console("ZMPOP 2 none z MIN COUNT 9") == [
        b"z",
        [[b"b", number(console, 2)], [b"c", number(console, 3)]],
    ]
    assert console("ZPOPMIN z") == []
    assert console.execute([b"ZMPOP", b"1", b"z", b"MIN"]) == (
        b"_\r\n" if console.ctx.resp == 3 else b"*-1\r\n"
    )


def test_several_scores_are_told_at_once(console: Console) -> None:
    console("ZADD z 1.5 a")
    assert console("ZMSCORE z a none") == [number(console, 1.5), None]
    assert console("ZMSCORE none a b") == [None, None]
    assert console("ZSCORE none a") is None


def test_random_members_are_members(console: Console) -> None:
    console("ZADD z " + " ".join(f"{at} m{at}" for at in range(40)))
    everything = set(console("ZRANGE z 0 -1"))
    assert console("ZRANDMEMBER z") in everything
    for count in (3, 15, 40, 100):
        found = console(f"ZRANDMEMBER z {count}")
        assert len(found) == len(set(found)) == min(count, 40)
        assert set(found) <= everything
    assert len(console("ZRANDMEMBER z -100")) == 100
    assert console("ZRANDMEMBER z 0") == []
    assert console("ZRANDMEMBER none") is None
    assert console("ZRANDMEMBER none 3") == []
    found = console("ZRANDMEMBER z 40 WITHSCORES")
    assert found == scored(console, *[(f"m{at}", at) for at in range(40)])


def test_every_member_is_drawn_sometime(console: Console) -> None:
    console("ZADD z 1 a 2 b 3 c")
    assert {console("ZRANDMEMBER z") for _ in range(100)} == {b"a", b"b", b"c"}


def test_algebra_joins_sorted_and_plain_sets(console: Console) -> None:
    console("ZADD z 1 a 2 b 3 c")
    console("ZADD y 10 b 20 c")
    console("SADD s c d")
    assert console("ZUNION 3 z y s WITHSCORES") == scored(
        console, ("a", 1), ("d", 1), ("b", 12), ("c", 24)
    )
    assert console("ZINTER 2 z y WEIGHTS 10 1 AGGREGATE MAX WITHSCORES") == scored(
        console, ("b", 20), ("c", 30)
    )
    assert console("ZDIFF 2 z s") == [b"a", b"b"]
    assert console("ZDIFF 2 s z") == [b"d"]
    assert console("ZINTER 2 z none") == []
    assert console("ZINTERCARD 2 z y") == 2
    assert console("ZINTERCARD 2 z y LIMIT 1") == 1
    assert console("ZINTERSTORE d 2 z s AGGREGATE MIN") == 1
    assert console("ZRANGE d 0 -1 WITHSCORES") == scored(console, ("c", 1))
    assert console("ZUNIONSTORE z 2 z y") == 3
    assert console("ZDIFFSTORE d 2 y z") == 0
    assert console("EXISTS d") == 0


def test_encodings_follow_size_and_never_go_back(console: Console) -> None:
    def encoding(key: str) -> bytes:
        return bytes(console(f"OBJECT ENCODING {key}"))

    console("ZADD z " + " ".join(f"{at} m{at}" for at in range(128)))
    assert encoding("z") == b"listpack"
    console("ZADD z 1 one-more")
    assert encoding("z") == b"skiplist"
    console("ZREM z one-more")
    assert encoding("z") == b"skiplist"
    console("ZADD long 1 " + "x" * 65)
    assert encoding("long") == b"skiplist"
    console("ZUNIONSTORE d 1 z")
    assert encoding("d") == b"listpack"
    console("COPY z c")
    assert encoding("c") == b"skiplist"
    console.engine.config.zset_max_listpack_entries = 1
    console("ZINCRBY new 1 a")
    assert encoding("new") == b"listpack"
    console("ZINCRBY new 1 b")
    assert encoding("new") == b"skiplist"


def test_a_scan_passes_every_member_once(console: Console) -> None:
    console("ZADD small 1 a 2 b")
    assert console("ZSCAN small 0") == [b"0", [b"a", b"1", b"b", b"2"]]
    assert console("ZSCAN small 7 MATCH b*") == [b"0", [b"b", b"2"]]
    assert console("ZSCAN none 0") == [b"0", []]
    console("ZADD low 3 c 1 b 1 a")
    assert console("ZSCAN low 0") == [b"0", [b"a", b"1", b"b", b"1", b"c", b"3"]]
    console("ZADD z " + " ".join(f"{at} m{at}" for at in range(MANY)))
    cursor = b"0"
    found: dict[bytes, bytes] = {}
    while True:
        cursor, flat = console("ZSCAN", "z", cursor, "COUNT", "20")
        found.update(zip(flat[::2], flat[1::2], strict=True))
        if cursor == b"0":
            break
        console("ZINCRBY z 1000 m3")
    assert set(found) == {b"m%d" % at for at in range(MANY)}


def test_large_sets_answer_like_small_ones(console: Console) -> None:
    console("ZADD z " + " ".join(f"{at // 3} {at:05}" for at in range(3000)))
    members = [b"%05d" % at for at in range(3000)]
    assert console("ZRANGE z 0 -1") == members
    assert console("ZRANGE z 1000 2000 REV") == members[999:2000][::-1]
    assert console("ZRANGEBYSCORE z 100 (900") == members[300:2700]
    assert console("ZREVRANGEBYSCORE z 900 (100 LIMIT 1000 3") == members[1700:1703][::-1]
    assert console("ZRANK z 02500") == 2500
    assert console("ZCOUNT z 1 999") == 2997
    assert console("ZREMRANGEBYRANK z 10 -11") == 2980
    assert console("ZRANGE z 0 -1") == members[:10] + members[-10:]


def test_an_expiry_stays_through_changes_and_goes_with_a_new_value(
    console: Console,
) -> None:
    console("ZADD z 1 a")
    console("EXPIRE z 100")
    console("ZADD z 2 b")
    console("ZINCRBY z 2 b")
    assert console("TTL z") == 100
    console("ZUNIONSTORE z 1 z")
    assert console("TTL z") == -1
    console("PEXPIRE z 10")
    console.clock.advance(11)
    assert console("ZADD z 7 c") == 1
    assert console("ZRANGE z 0 -1") == [b"c"]


def test_reading_does_not_hand_out_what_changes_later(console: Console) -> None:
    console("ZADD z 1 a 2 b")
    assert console("MULTI") == b"OK"
    console("ZRANGE z 0 -1")
    console("ZADD z 3 c")
    console("ZRANGE z 0 -1")
    assert console("EXEC") == [[b"a", b"b"], 1, [b"a", b"b", b"c"]]
