"""Arguments are parsed as Redis parses them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.errors import CommandError
from hotplate.spec.args import (
    INT64_MAX,
    INT64_MIN,
    Args,
    parse_bool,
    parse_float,
    parse_int,
    parse_int_within,
    parse_timeout_ms,
    parse_timeout_s,
    read_float,
    read_int,
    unknown_command,
    unknown_subcommand,
)


@given(st.integers(INT64_MIN, INT64_MAX))
def test_every_64_bit_integer_is_read_in_its_plain_form(value: int) -> None:
    assert read_int(b"%d" % value) == value


@pytest.mark.parametrize(
    "text",
    [
        "+1",
        "-0",
        "01",
        "-01",
        " 1",
        "1 ",
        "1_0",
        "0x1",
        "1.0",
        "",
        "-",
        "9223372036854775808",
        "-9223372036854775809",
        "1e3",
    ],
)
def test_other_forms_of_integers_are_refused(text: str) -> None:
    assert read_int(text.encode()) is None
    with pytest.raises(CommandError, match="value is not an integer or out of range"):
        parse_int(text.encode())


@given(st.floats(allow_nan=False))
def test_every_double_is_read_back(value: float) -> None:
    assert read_float(repr(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.", 1.0), (".5", 0.5), ("+3e2", 300.0), ("0x10", 16.0), ("-0x1p-1", -0.5)],
)
def test_floats_are_read_as_strtod_does(text: str, value: float) -> None:
    assert parse_float(text.encode()) == value


@pytest.mark.parametrize("text", ["nan", "", " 1", "1 ", "1_0", "1e400", "1e-400", "x", ".", "1e"])
def test_other_forms_of_floats_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match="value is not a valid float"):
        parse_float(text.encode())


def test_infinity_has_two_spellings() -> None:
    assert parse_float(b"-Inf") == -parse_float(b"infinity")


def test_timeouts_are_rounded_up_and_bounded() -> None:
    assert parse_timeout_s(b"0") == 0
    assert parse_timeout_s(b"0.0001") == 1
    assert parse_timeout_s(b"1.5") == 1500
    assert parse_timeout_ms(b"20") == 20
    for text, message in (
        (b"-1", "timeout is negative"),
        (b"x", "timeout is not a float or out of range"),
        (b"1e300", "timeout is out of range"),
        (b"inf", "timeout is out of range"),
    ):
        with pytest.raises(CommandError, match=message):
            parse_timeout_s(text)
    with pytest.raises(CommandError, match="timeout is negative"):
        parse_timeout_ms(b"-1")


def test_bounds_and_the_value_are_named() -> None:
    assert parse_int_within(b"5", "PRIORITY", 0, 100) == 5
    with pytest.raises(CommandError, match="PRIORITY must be an integer of 0 to 100, not '101'"):
        parse_int_within(b"101", "PRIORITY", 0, 100)
    with pytest.raises(CommandError, match="LEASE must be an integer of at least 1, not 'x'"):
        parse_int_within(b"x", "LEASE", 1)
    assert parse_bool(b"1", "MAP") is True
    with pytest.raises(CommandError, match="MAP must be 0 or 1, not 'yes'"):
        parse_bool(b"yes", "MAP")


def test_unknown_names_are_shown_as_redis_shows_them() -> None:
    error = unknown_command([b"FOO", b"a", b"b"])
    assert error.frame == (b"-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n")
    long = unknown_command([b"x" * 500, *[b"y" * 100] * 5])
    assert len(long.message) < 350
    assert unknown_command([b"a\r\nb"]).frame.count(b"\r\n") == 1
    assert unknown_subcommand([b"config", b"x"]).message == (
        b"unknown subcommand 'x'. Try CONFIG HELP."
    )


def test_the_cursor_takes_what_is_there_and_refuses_what_is_not() -> None:
    args = Args([b"CMD", b"ex", b"10", b"1.5", b"1", b"a", b"b"])
    assert len(args) == 6
    assert args.accept(b"EX")
    assert not args.accept(b"PX")
    assert args.take_int() == 10
    assert args.take_float() == 1.5
    assert args.take_bool("X")
    assert args.peek() == b"a"
    with pytest.raises(CommandError, match="syntax error"):
        args.finish()
    with pytest.raises(CommandError, match="syntax error"):
        args.take_many(3)
    assert args.take_rest() == [b"a", b"b"]
    args.finish()
    assert not args
    with pytest.raises(CommandError, match="syntax error"):
        args.take()
