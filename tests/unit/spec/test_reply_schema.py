"""The checker of replies can fail: each schema refuses what it does not describe."""

import pytest
from tests.testing.reply_schema import check_reply

from hotplate.spec.reply import (
    ArrayReply,
    BoolReply,
    BulkReply,
    DoubleReply,
    IntegerReply,
    MapReply,
    NullReply,
    ReplySchema,
    SetReply,
    SimpleReply,
    TupleReply,
    VerbatimReply,
    one_of,
)

FITTING: list[tuple[ReplySchema, bytes, bytes]] = [
    (SimpleReply("OK"), b"+OK\r\n", b"+OK\r\n"),
    (BulkReply(rb"a+"), b"$2\r\naa\r\n", b"$2\r\naa\r\n"),
    (IntegerReply(0, 1), b":1\r\n", b":1\r\n"),
    (DoubleReply(), b"$3\r\n1.5\r\n", b",1.5\r\n"),
    (BoolReply(), b":0\r\n", b"#f\r\n"),
    (NullReply(), b"$-1\r\n", b"_\r\n"),
    (VerbatimReply(), b"$1\r\nx\r\n", b"=5\r\ntxt:x\r\n"),
    (ArrayReply(IntegerReply()), b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:1\r\n:2\r\n"),
    (SetReply(BulkReply()), b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
    (TupleReply((IntegerReply(), NullReply())), b"*2\r\n:1\r\n$-1\r\n", b"*2\r\n:1\r\n_\r\n"),
    (MapReply(IntegerReply()), b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
]


@pytest.mark.parametrize(("schema", "resp2", "resp3"), FITTING)
def test_what_fits_passes_in_both_protocols(
    schema: ReplySchema, resp2: bytes, resp3: bytes
) -> None:
    check_reply(schema, resp2, 2)
    check_reply(schema, resp3, 3)
    check_reply(one_of(SimpleReply("other"), schema), resp3, 3)
    check_reply(schema, b"-ERR no\r\n", 2)


@pytest.mark.parametrize(
    ("schema", "frames", "resp"),
    [
        (SimpleReply("OK"), b"+QUEUED\r\n", 2),
        (SimpleReply("OK"), b"$2\r\nOK\r\n", 2),
        (BulkReply(rb"a+"), b"$2\r\nab\r\n", 2),
        (IntegerReply(0, 1), b":2\r\n", 2),
        (IntegerReply(0, 1), b":-1\r\n", 2),
        (DoubleReply(), b"$1\r\nx\r\n", 2),
        (DoubleReply(), b"$3\r\n1.5\r\n", 3),
        (BoolReply(), b":2\r\n", 2),
        (NullReply(), b":0\r\n", 2),
        (VerbatimReply(), b"$1\r\nx\r\n", 3),
        (ArrayReply(IntegerReply()), b"*1\r\n$1\r\na\r\n", 2),
        (SetReply(), b"*0\r\n", 3),
        (TupleReply((IntegerReply(),)), b"*0\r\n", 2),
        (MapReply(), b"*1\r\n:1\r\n", 2),
        (MapReply(IntegerReply()), b"%1\r\n$1\r\na\r\n$1\r\nb\r\n", 3),
        (MapReply(), b"%1\r\n:1\r\n:1\r\n", 3),
        (IntegerReply(), b":1\r\n:2\r\n", 2),
        (one_of(IntegerReply(), NullReply()), b"+OK\r\n", 2),
    ],
)
def test_what_does_not_fit_fails(schema: ReplySchema, frames: bytes, resp: int) -> None:
    with pytest.raises(AssertionError):
        check_reply(schema, frames, resp)
