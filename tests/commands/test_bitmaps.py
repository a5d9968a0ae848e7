"""Commands on bits, over both protocols: what the differential run cannot show or explain."""

import pytest
from tests.testing.server_console import ServerConsole as Console

from hotplate.errors import CommandError

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(resp=request.param)


@pytest.fixture
def events(console: Console) -> list[tuple[bytes, str]]:
    seen: list[tuple[bytes, str]] = []
    console.ctx.db.observer = lambda index, key, event: seen.append((key, event))
    return seen


def refusal(console: Console, line: str) -> str:
    with pytest.raises(CommandError) as caught:
        console(line)
    return caught.value.message.decode()


def test_a_bit_is_set_and_read(console: Console) -> None:
    assert console("SETBIT k 7 1") == 0
    assert console("SETBIT k 7 1") == 1
    assert [console("GETBIT", "k", at) for at in (0, 7, 8, 2**31)] == [0, 1, 0, 0]
    assert console("GET k") == b"\x01"
    assert console("SETBIT k 7 0") == 1
    assert console("GET k") == b"\x00"
    assert console("GETBIT none 5") == 0


def test_setting_a_bit_makes_the_string_long_enough(console: Console) -> None:
    console("SETBIT k 100 0")
    assert console("STRLEN k") == 13
    assert console("OBJECT ENCODING k") == b"raw"


def test_a_number_is_a_string_of_digits(console: Console) -> None:
    console("SET k 1")
    console("INCR k")
    assert console("GETBIT k 2") == 1
    console("SETBIT k 7 1")
    assert console("GET k") == b"3"
    assert console("OBJECT ENCODING k") == b"raw"


def test_only_a_change_is_told(console: Console, events: list[tuple[bytes, str]]) -> None:
    console("SETBIT k 3 0")
    console("SETBIT k 3 0")
    console("SETBIT k 3 1")
    console("SETBIT k 3 1")
    console("BITFIELD k GET u8 0 SET u1 3 1")
    console("BITFIELD k INCRBY u1 3 1")
    assert events == [(b"k", "setbit")] * 3


def test_an_expiry_stays_and_time_passes(console: Console) -> None:
    console("SET k a PX 100")
    console("SETBIT k 0 1")
    assert console("PTTL k") == 100
    console.clock.advance(200)
    assert console("GETBIT k 1") == 0
    assert console("SETBIT k 1 1") == 0
    assert console("PTTL k") == -1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SETBIT k -1 1", "ERR bit offset is not an integer or out of range"),
        ("SETBIT k a 1", "ERR bit offset is not an integer or out of range"),
        ("SETBIT k 4294967296 1", "ERR bit offset is not an integer or out of range"),
        ("SETBIT k 1 2", "ERR bit is not an integer or out of range"),
        ("SETBIT k 1 a", "ERR bit is not an integer or out of range"),
        ("GETBIT k -1", "ERR bit offset is not an integer or out of range"),
        ("BITCOUNT k 0", "ERR syntax error"),
        ("BITCOUNT k 0 1 NIBBLE", "ERR syntax error"),
        ("BITCOUNT none 0 x", "ERR value is not an integer or out of range"),
        ("BITPOS k 2", "ERR The bit argument must be 1 or 0."),
        ("BITPOS k x", "ERR value is not an integer or out of range"),
        ("BITPOS k 1 0 1 BIT BIT", "ERR syntax error"),
        ("BITPOS none 1 x", "ERR value is not an integer or out of range"),
        ("BITOP NAND d k", "ERR syntax error"),
        ("BITOP NOT d k k", "ERR BITOP NOT must be called with a single source key."),
        ("BITOP diff d k", "ERR BITOP DIFF must be called with at least two source keys."),
        ("BITOP DIFF1 d k", "ERR BITOP DIFF1 must be called with at least two source keys."),
        ("BITOP ANDOR d k", "ERR BITOP ANDOR must be called with at least two source keys."),
        (
            "BITFIELD k GET u64 0",
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported"
            " but i64 is.",
        ),
        ("BITFIELD k GET u8", "ERR syntax error"),
        ("BITFIELD k SET u8 0", "ERR syntax error"),
        ("BITFIELD k SET u8 0 x", "ERR value is not an integer or out of range"),
        ("BITFIELD k OVERFLOW MAYBE", "ERR Invalid OVERFLOW type specified"),
        ("BITFIELD k GET u8 #-1", "ERR bit offset is not an integer or out of range"),
        (
            "BITFIELD k GET u8 #9223372036854775807",
            "ERR bit offset is not an integer or out of range",
        ),
        ("BITFIELD k SET u8 0 1 GET u8 -1", "ERR bit offset is not an integer or out of range"),
        ("BITFIELD_RO k SET u8 0 1", "ERR BITFIELD_RO only supports the GET subcommand"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    console: Console, line: str, message: str
) -> None:
    console("SET k foobar")
    assert refusal(console, line) == message
    assert console("GET k") == b"foobar"
    assert console("DBSIZE") == 1


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("BITCOUNT k", 26),
        ("BITCOUNT k 0 0", 4),
        ("BITCOUNT k 1 1", 6),
        ("BITCOUNT k 1 1 BYTE", 6),
        ("BITCOUNT k 5 30 BIT", 17),
        ("BITCOUNT k -6 -1 BIT", 3),
        ("BITCOUNT k -1 -6", 0),
        ("BITCOUNT k 100 200", 0),
        ("BITCOUNT none", 0),
        ("BITCOUNT none 0 -1 BIT", 0),
    ],
)
def test_bits_are_counted_by_byte_or_bit(console: Console, line: str, count: int) -> None:
    console("SET k foobar")
    assert console(line) == count


@pytest.mark.parametrize(
    ("line", "position"),
    [
        ("BITPOS ones 0", 24),
        ("BITPOS ones 0 1", 24),
        ("BITPOS ones 0 0 -1", -1),
        ("BITPOS ones 0 3", -1),
        ("BITPOS ones 1 1", 8),
        ("BITPOS zeros 1", -1),
        ("BITPOS zeros 0", 0),
        ("BITPOS mixed 1", 12),
        ("BITPOS mixed 1 2", 16),
        ("BITPOS mixed 0 12 15 BIT", -1),
        ("BITPOS mixed 0 12 -1 BIT", 20),
        ("BITPOS mixed 1 0 11 BIT", -1),
        ("BITPOS none 0", 0),
        ("BITPOS none 1", -1),
        ("BITPOS none 1 0 5 BIT", -1),
        ("BITPOS empty 0", -1),
    ],
)
def test_the_first_bit_is_found(console: Console, line: str, position: int) -> None:
    console("SET", "ones", b"\xff\xff\xff")
    console("SET", "zeros", b"\0\0\0")
    console("SET", "mixed", b"\x00\x0f\xf0")
    console("SET", "empty", b"")
    assert console(line) == position


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("AND", [0b00110000, 0]),
        ("or", [0b11110111, 7]),
        ("XOR", [0b11110111, 6]),
        ("DIFF", [0b01000000, 0]),
        ("DIFF1", [0b10000111, 7]),
        ("ANDOR", [0b00110000, 0]),
        ("one", [0b11000111, 6]),
    ],
)
def test_strings_are_combined(console: Console, operation: str, expected: list[int]) -> None:
    console("SET", "a", bytes([0b01110000]))
    console("SET", "b", bytes([0b00110001, 1]))
    console("SET", "c", bytes([0b10110110, 7]))
    assert console("BITOP", operation, "dest", "a", "b", "c") == 2
    assert list(console("GET dest")) == expected


def test_a_result_replaces_what_was_there_and_an_empty_one_deletes_it(
    console: Console, events: list[tuple[bytes, str]]
) -> None:
    console("SET dest x EX 100")
    console("SET", "a", b"\x0f")
    console("BITOP NOT dest a")
    assert console("GET dest") == b"\xf0"
    assert console("TTL dest") == -1
    assert console("OBJECT ENCODING dest") == b"raw"
    assert console("BITOP AND dest none nothing") == 0
    assert console("EXISTS dest") == 0
    assert console("BITOP AND dest none nothing") == 0
    assert events[-2:] == [(b"dest", "set"), (b"dest", "del")]


def test_fields_are_numbers_of_any_width(console: Console) -> None:
    assert console("BITFIELD k INCRBY i5 100 1 GET u4 0") == [1, 0]
    assert console("BITFIELD k SET u8 #1 200 GET u8 8 GET i8 #1") == [0, 200, -56]
    assert console("BITFIELD_RO k GET u8 #1") == [200]
    assert console("BITFIELD k") == []
    assert console("BITFIELD none GET i64 1000") == [0]
    assert console("EXISTS none") == 0


@pytest.mark.parametrize(
    ("overflow", "replies"),
    [
        ("WRAP", [3, 0, -1, -(2**63)]),
        ("SAT", [3, 3, 0, 2**63 - 1]),
        ("FAIL", [3, None, None, None]),
    ],
)
def test_what_does_not_fit_wraps_stays_at_the_bound_or_fails(
    console: Console, overflow: str, replies: list[int | None]
) -> None:
    console(f"BITFIELD k SET i64 64 {2**63 - 1}")
    first = console(f"BITFIELD k OVERFLOW {overflow} INCRBY u2 0 3 INCRBY u2 0 1")
    second = console(f"BITFIELD k OVERFLOW {overflow} INCRBY i1 2 1 INCRBY i64 64 1")
    assert [*first, *second] == replies


def test_a_negative_number_is_a_large_one_without_a_sign(console: Console) -> None:
    assert console("BITFIELD k OVERFLOW SAT SET u8 0 -1 GET u8 0") == [0, 255]
    assert console("BITFIELD k OVERFLOW SAT INCRBY u8 0 -300") == [0]
    assert console("BITFIELD k SET i8 0 200 GET i8 0") == [0, -56]


def test_text_that_never_was_a_number_can_be_written_to(console: Console) -> None:
    console("SET k 1.5")
    console("INCRBYFLOAT k 1")
    assert console("GETBIT k 2") == 1
    assert console("SETBIT k 0 1") == 0
    assert console("GET k") == b"\xb2.5"
