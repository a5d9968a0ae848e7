"""How the benchmark's client frames and cuts what it sends (the socket itself: tests/e2e)."""

from hotplate.bench.link import frame, unsent


def test_arguments_of_every_type_become_bulk_strings() -> None:
    assert frame("SET", b"\0", 12) == b"*3\r\n$3\r\nSET\r\n$1\r\n\0\r\n$2\r\n12\r\n"


def test_after_a_partial_send_exactly_the_rest_is_left() -> None:
    parts: list[bytes | memoryview] = [b"abc", memoryview(b"defg"), b"hi"]
    for sent in range(10):
        assert b"".join(bytes(part) for part in unsent(parts, sent)) == b"abcdefghi"[sent:]
