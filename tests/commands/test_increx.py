"""INCREX as the documentation of Redis 8.8 tells it, in both protocols."""

import pytest
from tests.testing.server_console import ServerConsole


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


def floats(console: ServerConsole, *texts: str) -> bytes:
    if console.ctx.resp == 3:
        return b"*%d\r\n" % len(texts) + b"".join(b",%b\r\n" % text.encode() for text in texts)
    return b"*%d\r\n" % len(texts) + b"".join(
        b"$%d\r\n%b\r\n" % (len(text), text.encode()) for text in texts
    )


def test_it_counts_from_zero_by_one(console: ServerConsole) -> None:
    assert console("INCREX k") == [1, 1]
    assert console("INCREX k") == [2, 1]
    assert console("INCREX k BYINT -10") == [-8, -10]
    assert console("GET k") == b"-8"
    assert console("OBJECT ENCODING k") == b"int"


def test_floats_are_bulk_strings_or_doubles(console: ServerConsole) -> None:
    assert console.execute([b"INCREX", b"k", b"BYFLOAT", b"1.5"]) == floats(console, "1.5", "1.5")
    assert console.execute([b"INCREX", b"k", b"BYFLOAT", b"-0.25"]) == floats(
        console, "1.25", "-0.25"
    )
    assert console("GET k") == b"1.25"
    assert console.refused("INCREX k") == "ERR value is not an integer or out of range"


def test_out_of_bounds_is_skipped_and_tells_zero(console: ServerConsole) -> None:
    console("SET k 99 EX 500")
    console.clock.advance(1000)
    assert console("INCREX k BYINT 5 UBOUND 100 EX 7") == [99, 0]
    assert console("INCREX k BYINT -5 LBOUND 98 PERSIST") == [99, 0]
    assert console("TTL k") == 499
    assert console("INCREX new BYINT 5 UBOUND 3") == [0, 0]
    assert console("EXISTS new") == 0
    assert console("INCREX k BYINT 1 UBOUND 100") == [100, 1]
    assert console.execute([b"INCREX", b"k", b"BYFLOAT", b"1", b"UBOUND", b"100.5"]) == floats(
        console, "100", "0"
    )


def test_saturating_stops_at_the_bound_and_tells_what_was_added(console: ServerConsole) -> None:
    console("SET k 99 EX 500")
    assert console("INCREX k BYINT 5 UBOUND 100 SATURATE") == [100, 1]
    assert console("INCREX k BYINT 5 UBOUND 100 SATURATE EX 7") == [100, 0]
    assert console("TTL k") == 7
    assert console("INCREX k BYINT -500 LBOUND -3 SATURATE PERSIST") == [-3, -103]
    assert console("TTL k") == -1
    assert console("INCREX new BYINT 5 UBOUND 0 SATURATE") == [0, 0]
    assert console("GET new") == b"0"
    assert console.execute(
        [b"INCREX", b"f", b"BYFLOAT", b"2.5", b"UBOUND", b"1.25", b"SATURATE"]
    ) == floats(console, "1.25", "1.25")


def test_without_bounds_the_type_is_the_bound(console: ServerConsole) -> None:
    top = 2**63 - 1
    console("SET", "k", top)
    assert console("INCREX k") == [top, 0]
    assert console("INCREX k BYINT 5 SATURATE") == [top, 0]
    console("SET", "k", -(2**63))
    assert console("INCREX k BYINT -1") == [-(2**63), 0]
    # from the lowest to the highest is no 64-bit step
    assert console.refused("INCREX k BYINT 1 LBOUND 5 SATURATE") == (
        "ERR increment or decrement would overflow"
    )
    assert console("GET k") == b"-9223372036854775808"


def test_floats_that_overflow_are_skipped_or_saturated(console: ServerConsole) -> None:
    console("SET k 1e4932")
    frame = console.execute([b"INCREX", b"k", b"BYFLOAT", b"1e4932"])
    assert frame.endswith(b",0\r\n" if console.ctx.resp == 3 else b"$1\r\n0\r\n")
    assert console("GET k") == b"1e4932"
    console.execute([b"INCREX", b"k", b"BYFLOAT", b"1e4932", b"SATURATE"])
    assert console("GET k").startswith(b"1189731495357231765")
    assert console.refused("INCREX k BYFLOAT inf") == (
        "ERR increment would produce NaN or Infinity"
    )


def test_an_expiry_is_set_always_or_where_there_is_none(console: ServerConsole) -> None:
    console("INCREX k EX 100")
    assert console("TTL k") == 100
    console("INCREX k PX 5500 ENX")
    assert console("TTL k") == 100
    console("INCREX k PX 5500")
    assert console("PTTL k") == 5500
    console("INCREX k")
    assert console("PTTL k") == 5500
    console("SET k 1")
    console("INCREX k EX 100 ENX")
    assert console("TTL k") == 100
    console("INCREX k EXAT 4102444800")
    assert console("EXPIRETIME k") == 4102444800
    console("INCREX k PERSIST")
    assert console("TTL k") == -1


def test_a_window_limits_and_begins_anew(console: ServerConsole) -> None:
    line = "INCREX window BYINT 1 UBOUND 3 EX 60 ENX"
    assert [console(line)[1] for _ in range(5)] == [1, 1, 1, 0, 0]
    console.clock.advance(60_001)
    assert console(line) == [1, 1]
    assert console("TTL window") == 60


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("INCREX", "ERR wrong number of arguments for 'increx' command"),
        ("INCREX k BYINT", "ERR syntax error"),
        ("INCREX k BYINT 1 BYFLOAT 1", "ERR syntax error"),
        ("INCREX k BYINT 1.5", "ERR value is not an integer or out of range"),
        ("INCREX k BYFLOAT x", "ERR value is not a valid float"),
        ("INCREX k UBOUND 1.5", "ERR value is not an integer or out of range"),
        ("INCREX k UBOUND 1 UBOUND 2", "ERR syntax error"),
        ("INCREX k LBOUND 2 UBOUND 1", "ERR LBOUND must not be greater than UBOUND"),
        ("INCREX k EX 1 PX 1", "ERR syntax error"),
        ("INCREX k EX 1 PERSIST", "ERR syntax error"),
        ("INCREX k ENX", "ERR syntax error"),
        ("INCREX k PERSIST ENX", "ERR syntax error"),
        ("INCREX k EX 0", "ERR invalid expire time in 'increx' command"),
        ("INCREX k EX -1", "ERR invalid expire time in 'increx' command"),
        ("INCREX k SATURATE SATURATE", "ERR syntax error"),
        ("INCREX k NX", "ERR syntax error"),
        ("INCREX text", "ERR value is not an integer or out of range"),
        ("INCREX text BYFLOAT 1", "ERR value is not a valid float"),
        ("INCREX bucket", "WRONGTYPE Operation"),
        ("INCREX bucket BYFLOAT 1", "WRONGTYPE Operation"),
    ],
)
def test_a_refused_increment_changes_nothing(
    console: ServerConsole, line: str, message: str
) -> None:
    console("SET k 1 EX 100")
    console("SET text x")
    console("CL.THROTTLE bucket 9 1 1")
    events: list[object] = []
    console.ctx.db.observer = lambda *event: events.append(event)
    assert console.refused(line).startswith(message)
    assert console("MGET k text") == [b"1", b"x"]
    assert console("TTL k") == 100
    assert events == []


def test_events_are_those_of_the_parts(console: ServerConsole) -> None:
    events: list[str] = []
    console.ctx.db.observer = lambda _, key, event: events.append(event)
    console("INCREX k EX 10")
    console("INCREX k BYFLOAT 1 PERSIST")
    console("INCREX k BYFLOAT 1 UBOUND 1")
    assert events == ["incrby", "expire", "incrbyfloat", "persist"]
