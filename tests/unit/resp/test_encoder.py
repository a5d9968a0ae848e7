"""Golden frames of every reply type, and what a client library reads back."""

import math
from typing import Any

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotplate.errors import CODES, CommandError, WrongTypeError
from hotplate.resp.encoder import double_text, double_texts, encode
from hotplate.resp.shared import BULK_HEADERS, INTEGERS
from hotplate.resp.types import (
    EMPTY_ARRAY,
    NULL_ARRAY,
    OK,
    Bool,
    Double,
    Map,
    Payload,
    Payloads,
    Push,
    Raw,
    Set,
    Simple,
    Verbatim,
)


def frames(reply: Any, version: int) -> bytes:
    out: list[Any] = []
    encode(reply, version, out.append)
    return b"".join(out)


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        (0, b":0\r\n", b":0\r\n"),
        (-1, b":-1\r\n", b":-1\r\n"),
        (2**63 - 1, b":9223372036854775807\r\n", b":9223372036854775807\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (OK, b"+OK\r\n", b"+OK\r\n"),
        (Raw(b":7\r\n"), b":7\r\n", b":7\r\n"),
        (EMPTY_ARRAY, b"*0\r\n", b"*0\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        ([b"a", 1, None], b"*3\r\n$1\r\na\r\n:1\r\n$-1\r\n", b"*3\r\n$1\r\na\r\n:1\r\n_\r\n"),
        (
            (b"a", [b"b"]),
            b"*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n",
        ),
        (Simple(b"string"), b"+string\r\n", b"+string\r\n"),
        (Map({b"a": 1}), b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        (Map(), b"*0\r\n", b"%0\r\n"),
        (Set([b"a"]), b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
        (Push([b"a"]), b"*1\r\n$1\r\na\r\n", b">1\r\n$1\r\na\r\n"),
        (Double(1.5), b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (Double(3), b"$1\r\n3\r\n", b",3\r\n"),
        (Double(math.inf), b"$3\r\ninf\r\n", b",inf\r\n"),
        (Double(-math.inf), b"$4\r\n-inf\r\n", b",-inf\r\n"),
        (Double(math.nan), b"$3\r\nnan\r\n", b",nan\r\n"),
        (Double(0.1), b"$3\r\n0.1\r\n", b",0.1\r\n"),
        (Double(1e21), b"$5\r\n1e+21\r\n", b",1e+21\r\n"),
        (Bool(True), b":1\r\n", b"#t\r\n"),
        (Bool(False), b":0\r\n", b"#f\r\n"),
        (Verbatim(b"hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
        (Verbatim(b"# hi", b"mkd"), b"$4\r\n# hi\r\n", b"=8\r\nmkd:# hi\r\n"),
        (CommandError("no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        ([WrongTypeError(), OK], *[b"*2\r\n" + WrongTypeError().frame + b"+OK\r\n"] * 2),
        (
            Map({b"s": Set([Bool(True), Double(2)]), 5: Map({b"n": None})}),
            b"*4\r\n$1\r\ns\r\n*2\r\n:1\r\n$1\r\n2\r\n:5\r\n*2\r\n$1\r\nn\r\n$-1\r\n",
            b"%2\r\n$1\r\ns\r\n~2\r\n#t\r\n,2\r\n:5\r\n%1\r\n$1\r\nn\r\n_\r\n",
        ),
    ],
)
def test_every_reply_type_has_its_frame_in_both_protocols(
    reply: Any, resp2: bytes, resp3: bytes
) -> None:
    assert (frames(reply, 2), frames(reply, 3)) == (resp2, resp3)


@pytest.mark.parametrize("version", [2, 3])
def test_sizes_around_the_tables_ends_are_written_alike(version: int) -> None:
    for size in (0, 9, 10, len(BULK_HEADERS) - 1, len(BULK_HEADERS), len(BULK_HEADERS) + 1):
        assert frames(b"x" * size, version) == b"$%d\r\n%b\r\n" % (size, b"x" * size)
        assert frames([b"x" * size], version) == b"*1\r\n$%d\r\n%b\r\n" % (size, b"x" * size)
        assert frames([1] * size, version) == b"*%d\r\n%b" % (size, b":1\r\n" * size)
    for number in (-1, 0, len(INTEGERS) - 1, len(INTEGERS), -len(INTEGERS)):
        assert frames(number, version) == b":%d\r\n" % number


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("reply", [True, False, "OK", 1.5, {b"a": 1}, {b"a"}, bytearray(b"a")])
def test_a_value_that_would_have_to_be_guessed_is_refused(reply: Any, version: int) -> None:
    out: list[Any] = []
    with pytest.raises(TypeError, match=type(reply).__name__):
        encode(reply, version, out.append)
    assert out == []
    for aggregate in ([reply], Map({b"k": reply}), Set([reply])):
        with pytest.raises(TypeError, match=type(reply).__name__):
            encode(aggregate, version, out.append)


@pytest.mark.parametrize("version", [2, 3])
def test_a_payload_goes_out_as_its_own_views(version: int) -> None:
    released: list[bool] = []
    views = [memoryview(b"abc"), memoryview(b"defg")]
    payload = Payload(7, views, lambda: released.append(True))
    out: list[Any] = []
    encode([payload, b"x"], version, out.append)
    assert b"".join(out) == b"*2\r\n$7\r\nabcdefg\r\n$1\r\nx\r\n"
    assert [item for item in out if isinstance(item, memoryview)] == views
    assert any(item is views[0] for item in out)
    assert released == []


@pytest.mark.parametrize(("version", "null"), [(2, b"$-1\r\n"), (3, b"_\r\n")])
def test_payloads_and_their_gaps_go_out_as_an_array(version: int, null: bytes) -> None:
    payload = Payload(3, [memoryview(b"abc")], lambda: None)
    assert frames(Payloads([payload, None]), version) == b"*2\r\n$3\r\nabc\r\n" + null


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_error_code_may_stand_in_an_array(code: str) -> None:
    kind = CODES[code]
    error = kind() if kind is WrongTypeError else kind("why\r\nnot")
    assert frames([error], 2).startswith(b"*1\r\n-" + code.encode() + b" ")
    assert frames([error], 3).count(b"\r\n") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0, b"-0"),
        (100.0, b"100"),
        (1e16, b"10000000000000000"),
        (1e17, b"100000000000000000"),
        (2.0**62, b"4611686018427387904"),
        (-(2.0**62), b"-4611686018427387904"),
        (2.0**63, b"9223372036854776000"),
        (1e20, b"1e+20"),
        (1.2345678901234567e20, b"123456789012345670000"),
        (1e21, b"1e+21"),
        (-1e22, b"-1e+22"),
        (1.7976931348623157e308, b"1.7976931348623157e+308"),
        (0.1, b"0.1"),
        (-1.5, b"-1.5"),
        (0.30000000000000004, b"0.30000000000000004"),
        (3.141592653589793, b"3.141592653589793"),
        (12345.678901, b"12345.678901"),
        (12345.6789012, b"1.23456789012e+4"),
        (1234.12345678, b"1234.12345678"),
        (123456.1234567, b"1.234561234567e+5"),
        (1682428585.0234567, b"1.6824285850234568e+9"),
        (0.00001, b"0.00001"),
        (0.000001, b"0.000001"),
        (1e-7, b"1e-7"),
        (0.000001234, b"1.234e-6"),
        (0.00012345678, b"1.2345678e-4"),
        (5e-324, b"5e-324"),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        (math.nan, b"nan"),
    ],
)
def test_doubles_are_printed_as_redis_prints_them(value: float, text: bytes) -> None:
    assert double_text(value) == text


@given(st.floats(allow_nan=False))
def test_a_printed_double_reads_back_as_itself(value: float) -> None:
    assert float(double_text(value)) == value


@given(st.lists(st.one_of(st.floats(allow_nan=False), st.integers(-(2**70), 2**70).map(float))))
def test_many_doubles_are_printed_like_each(values: list[float]) -> None:
    texts = [double_text(value) for value in values]
    assert [text if text != b"-0" else b"0" for text in texts] == [
        text if text != b"-0" else b"0" for text in double_texts(values)
    ]


numbers = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(
    st.binary(max_size=20),
    numbers,
    st.none(),
    st.booleans().map(Bool),
    st.floats(allow_nan=False).map(Double),
    st.binary(max_size=8).map(Verbatim),
)
replies = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(Set),
        st.dictionaries(st.binary(max_size=5), inner, max_size=4).map(Map),
    ),
    max_leaves=20,
)


def as_read(reply: Any, version: int) -> Any:
    """What a client library makes of the reply."""
    match reply:
        case Bool(value):
            return value if version == 3 else int(value)
        case Double():
            return float(reply) if version == 3 else double_text(reply)
        case Verbatim(text):
            return text
        case Map():
            pairs = {key: as_read(value, version) for key, value in reply.items()}
            return pairs if version == 3 else [x for pair in pairs.items() for x in pair]
        case list() | tuple():
            return [as_read(item, version) for item in reply]
        case _:
            return reply


@settings(max_examples=200, deadline=None)
@given(reply=replies, version=st.sampled_from([2, 3]))
def test_a_client_library_reads_back_what_was_meant(reply: Any, version: int) -> None:
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    reader.feed(frames(reply, version))
    assert reader.gets() == as_read(reply, version)
    assert reader.gets() is Ellipsis
