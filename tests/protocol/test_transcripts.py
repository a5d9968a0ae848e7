"""What both readers make of the same bytes, whole, cut and with more behind them."""

import pytest
from tests.protocol.pieces import READERS, Reader, byte_by_byte, cuts_in_two, drive, request

from hotplate.resp.pyreader import ReaderLimits

SMALL = ReaderLimits(
    array_items_max=64,
    bulk_bytes_max=2000,
    inline_bytes_max=40,
    large_bulk_bytes=1000,
    query_buffer_bytes_max=10_000,
)

VALID: dict[str, tuple[bytes, list[list[bytes]]]] = {
    "one request": (b"*1\r\n$4\r\nPING\r\n", [[b"PING"]]),
    "an empty argument": (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", [[b"ECHO", b""]]),
    "CR and LF in a payload": (request(b"SET", b"a\r\nb", b"\r\n"), [[b"SET", b"a\r\nb", b"\r\n"]]),
    "a pipeline": (request(b"GET", b"a") * 3, [[b"GET", b"a"]] * 3),
    "arguments of equal and of changing length": (
        request(b"MGET", b"aaaa", b"bbbb", b"cc", b"dddd", b"e" * 12, b"f" * 12),
        [[b"MGET", b"aaaa", b"bbbb", b"cc", b"dddd", b"e" * 12, b"f" * 12]],
    ),
    "an empty request": (b"*0\r\n" + request(b"PING"), [[b"PING"]]),
    "only empty requests": (b"*0\r\n*0\r\n*0\r\n", []),
    "an empty request between others": (
        request(b"A") + b"*0\r\n" + request(b"B") + b"*0\r\n",
        [[b"A"], [b"B"]],
    ),
    "a null request": (b"*-1\r\n" + request(b"PING"), [[b"PING"]]),
    "a negative request": (b"*-7\r\n" + request(b"PING"), [[b"PING"]]),
    "a null request between others": (request(b"A") + b"*-1\r\n" + request(b"B"), [[b"A"], [b"B"]]),
    "an inline request": (b"PING\r\n", [[b"PING"]]),
    "an inline request that ends with LF alone": (b"PING\n", [[b"PING"]]),
    "an inline request with words and quotes": (
        b"  SET  key\t\"a \\x41\\n\" 'it\\'s' \r\n",
        [[b"SET", b"key", b"a A\n", b"it's"]],
    ),
    "empty lines": (b"\r\n\n  \r\nPING\r\n\r\n", [[b"PING"]]),
    "inline and arrays in turn": (
        b"PING\r\n" + request(b"GET", b"a") + b"ECHO x\r\n" + request(b"GET", b"b"),
        [[b"PING"], [b"GET", b"a"], [b"ECHO", b"x"], [b"GET", b"b"]],
    ),
    "lines that look like other frames": (
        request(b"A") + b"+OK\r\n:5\r\n>1\r\n%0\r\n~2\r\n|1\r\n+\r\n_\r\n$1\r\n" + request(b"B"),
        [[word] for word in b"A +OK :5 >1 %0 ~2 |1 + _ $1 B".split()],
    ),
    "payload that looks like headers": (
        request(b"SET", b"*99999\r\n$99999\r\n", b">99999\r\n~99999\r\n%1\r\n"),
        [[b"SET", b"*99999\r\n$99999\r\n", b">99999\r\n~99999\r\n%1\r\n"]],
    ),
    "payload that looks like an empty request": (request(b"*0\r\n") * 2, [[b"*0\r\n"]] * 2),
    "a payload of a whole request": (request(request(b"DEL", b"a")), [[request(b"DEL", b"a")]]),
    "a long array": (request(*[b"k%d" % i for i in range(60)]), [[b"k%d" % i for i in range(60)]]),
    "two bytes behind a bulk string, whatever they are": (b"*1\r\n$1\r\naXX", [[b"a"]]),
    "large bulk strings": (
        request(b"SET", b"k", b"x" * 1000) + request(b"MSET", b"a", b"y" * 1999, b"b", b"z" * 2000),
        [[b"SET", b"k", b"x" * 1000], [b"MSET", b"a", b"y" * 1999, b"b", b"z" * 2000]],
    ),
    "a large bulk string first": (request(b"x" * 1500, b"y"), [[b"x" * 1500, b"y"]]),
}

INVALID: dict[str, tuple[bytes, str]] = {
    "letters as array length": (b"*x\r\n", "invalid multibulk length"),
    "no array length": (b"*\r\n", "invalid multibulk length"),
    "a leading zero": (b"*01\r\n$1\r\na\r\n", "invalid multibulk length"),
    "a plus sign": (b"*+1\r\n$1\r\na\r\n", "invalid multibulk length"),
    "a space": (b"* 1\r\n$1\r\na\r\n", "invalid multibulk length"),
    "an underscore": (b"*1_0\r\n", "invalid multibulk length"),
    "a minus alone": (b"*-\r\n", "invalid multibulk length"),
    "minus zero": (b"*-0\r\n", "invalid multibulk length"),
    "an array over the limit": (b"*65\r\n", "invalid multibulk length"),
    "an array of a billion": (b"*1000000000\r\n", "invalid multibulk length"),
    "an array beyond 64 bits": (b"*99999999999999999999\r\n", "invalid multibulk length"),
    "an integer as argument": (b"*1\r\n:5\r\n", "expected '$', got ':'"),
    "a simple string as argument": (b"*2\r\n+OK\r\n$1\r\n", "expected '$', got '+'"),
    "a nested array": (b"*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
    "a nested array of a billion": (b"*1\r\n*1000000000\r\n", "expected '$', got '*'"),
    "a nested push of a billion": (b"*1\r\n>1000000000\r\n", "expected '$', got '>'"),
    "a nested set of a billion": (b"*1\r\n~1000000000\r\n", "expected '$', got '~'"),
    "a nested map": (b"*1\r\n%0\r\n", "expected '$', got '%'"),
    "an error as argument": (b"*1\r\n-ERR\r\n", "expected '$', got '-'"),
    "a RESP3 null as argument": (b"*1\r\n_\r\n", "expected '$', got '_'"),
    "a null bulk string": (b"*1\r\n$-1\r\n", "invalid bulk length"),
    "letters as bulk length": (b"*1\r\n$abc\r\n", "invalid bulk length"),
    "no bulk length": (b"*1\r\n$\r\n", "invalid bulk length"),
    "a bulk string with a leading zero": (b"*1\r\n$01\r\na\r\n", "invalid bulk length"),
    "a bulk string over the limit": (b"*1\r\n$2001\r\n", "invalid bulk length"),
    "a bulk string beyond 64 bits": (b"*1\r\n$9999999999999999999\r\n", "invalid bulk length"),
    "a payload shorter than announced": (
        b"*2\r\n$5\r\nabc\r\n$1\r\nx\r\n$",  # "abc\r\n" is the payload, "$1" is skipped
        "expected '$', got '\r'",
    ),
    "a byte that is not ASCII": (b"*1\r\n\xff1\r\n", "expected '$', got '\xff'"),
    "an endless array header": (b"*" + b"1" * 41, "too big mbulk count string"),
    "an endless bulk header": (b"*1\r\n$" + b"1" * 41, "too big bulk count string"),
    "an endless line": (b"a" * 41, "too big inline request"),
    "a line that is too long": (b"a" * 41 + b"\r\n", "too big inline request"),
    "unbalanced double quotes": (b'SET "a\r\n', "unbalanced quotes in request"),
    "unbalanced single quotes": (b"SET 'a\r\n", "unbalanced quotes in request"),
    "text right behind a closing quote": (b'SET "a"b\r\n', "unbalanced quotes in request"),
    "a large bulk string without CRLF": (
        b"*1\r\n$1000\r\n" + b"x" * 1000 + b"XX",
        "expected CRLF after bulk",
    ),
}

valid = pytest.mark.parametrize(("data", "requests"), VALID.values(), ids=VALID.keys())
invalid = pytest.mark.parametrize(("data", "text"), INVALID.values(), ids=INVALID.keys())
both_readers = pytest.mark.parametrize("kind", READERS)


@both_readers
@valid
def test_a_valid_stream_gives_its_requests(
    kind: type[Reader], data: bytes, requests: list[list[bytes]]
) -> None:
    outcome = drive(kind, [data], SMALL)
    assert outcome.requests == requests
    assert (outcome.error, outcome.pending_bytes) == (None, 0)


@both_readers
@valid
def test_single_bytes_give_the_same_requests(
    kind: type[Reader], data: bytes, requests: list[list[bytes]]
) -> None:
    outcome = drive(kind, byte_by_byte(data), SMALL)
    assert outcome.requests == requests
    assert (outcome.error, outcome.pending_bytes) == (None, 0)


@both_readers
@valid
def test_every_cut_in_two_gives_the_same_requests(
    kind: type[Reader], data: bytes, requests: list[list[bytes]]
) -> None:
    before, behind = request(b"BEFORE", b"1"), request(b"BEHIND", b"2" * 300)
    expected = [[b"BEFORE", b"1"], *requests, [b"BEHIND", b"2" * 300]]
    for pieces in cuts_in_two(before + data + behind):
        assert drive(kind, pieces, SMALL).requests == expected, pieces


@both_readers
@valid
def test_what_is_unfinished_behind_a_request_waits(
    kind: type[Reader], data: bytes, requests: list[list[bytes]]
) -> None:
    tail = request(b"UNFINISHED", b"tail")
    for size in range(1, len(tail)):
        outcome = drive(kind, [data + tail[:size]], SMALL)
        assert outcome.requests == requests
        assert outcome.error is None
        # of a request under way only payload still counts
        assert 0 <= outcome.pending_bytes <= size


@both_readers
@valid
def test_batches_of_one_give_the_same_requests(
    kind: type[Reader], data: bytes, requests: list[list[bytes]]
) -> None:
    outcome = drive(kind, [data + request(b"A") * 20], SMALL, batch_limit=1)
    assert outcome.requests == requests + [[b"A"]] * 20


@both_readers
@invalid
def test_an_invalid_stream_is_refused_with_the_words_of_redis(
    kind: type[Reader], data: bytes, text: str
) -> None:
    outcome = drive(kind, [data], SMALL)
    assert (outcome.requests, outcome.error) == ([], f"Protocol error: {text}")


@both_readers
@invalid
def test_what_came_before_an_error_is_run_and_nothing_behind_it(
    kind: type[Reader], data: bytes, text: str
) -> None:
    stream = request(b"GET", b"a") * 2 + data
    expected = [[b"GET", b"a"]] * 2
    for pieces in (byte_by_byte(stream), *cuts_in_two(stream)):
        outcome = drive(kind, [*pieces, request(b"LATER")], SMALL)
        assert (outcome.requests, outcome.error) == (expected, f"Protocol error: {text}"), pieces
