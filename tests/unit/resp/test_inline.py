"""Words of an inline request, against what Redis' own splitter does."""

import pytest

from hotplate.resp.inline import split_line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"   \t ", []),
        (b"PING", [b"PING"]),
        (b"  a\tb\v c\f", [b"a", b"b", b"c"]),
        (b'""', [b""]),
        (b"''  x", [b"", b"x"]),
        (b'"a b"', [b"a b"]),
        (b"'a b'", [b"a b"]),
        (b'"\\n\\r\\t\\b\\a"', [b"\n\r\t\b\a"]),
        (b'"\\x00\\xfF"', [b"\x00\xff"]),
        (b'"\\xg1\\x1"', [b"xg1x1"]),
        (b'"\\"\\\\\\q"', [b'"\\q']),
        (b"'\\'\\n'", [b"'\\n"]),
        (b'it"s"', [b"its"]),
        (b"a'b c' d", [b"ab c", b"d"]),
    ],
)
def test_a_line_is_split_as_redis_splits_it(line: bytes, words: list[bytes]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize("line", [b'"', b"'", b'"a', b'a "b"c', b"'a'b", b'"\\"', b"'\\'", b'"a\\'])
def test_a_quote_that_is_not_closed_before_space_is_refused(line: bytes) -> None:
    assert split_line(line) is None
