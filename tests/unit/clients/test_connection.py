"""The payload connection: exact requests, replies in order, whatever way the bytes arrive."""

from collections.abc import Iterable

import pytest
import redis

from hotplate.clients._sync.connection import PayloadConnection
from hotplate.clients._sync.payloads import Payloads
from hotplate.clients.address import JOIN_BELOW_BYTES, Address, sendable
from hotplate.clients.errors import NoSessionError, QuotaError, StaleBlockError
from hotplate.clients.keys import Keys
from hotplate.clients.records import Run
from hotplate.wire.schema import Span


class ScriptedStream:
    """Receives what it is told, in pieces of at most `step` bytes; keeps what is sent."""

    def __init__(self, replies: bytes, step: int = 1 << 20) -> None:
        self.replies = replies
        self.step = step
        self.sent = b""
        self.closed = False

    def send(self, buffers: Iterable[bytes | memoryview]) -> None:
        self.sent += b"".join(buffers)

    def receive_into(self, target: memoryview) -> int:
        piece = self.replies[: min(self.step, len(target))]
        target[: len(piece)] = piece
        self.replies = self.replies[len(piece) :]
        return len(piece)

    def close(self) -> None:
        self.closed = True


def connected(replies: bytes, step: int = 1 << 20) -> tuple[PayloadConnection, ScriptedStream]:
    stream = ScriptedStream(replies, step)
    return PayloadConnection(stream), stream  # type: ignore[arg-type]


def payloads(replies: bytes) -> tuple[Payloads, ScriptedStream]:
    connection, stream = connected(replies)
    return Payloads(Address(), b"i", [connection]), stream


REPLIES = b":7\r\n+OK\r\n$5\r\nab\r\nc\r\n$-1\r\n$0\r\n\r\n-NOSESSION gone\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1 << 20])
def test_replies_are_read_in_order_however_they_are_cut(step: int) -> None:
    connection, _ = connected(REPLIES, step)
    assert [connection.receive() for _ in range(5)] == [7, b"OK", b"ab\r\nc", None, b""]
    with pytest.raises(NoSessionError, match="gone"):
        connection.receive()


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_a_large_payload_lands_in_the_given_buffer_and_the_next_reply_is_found(step: int) -> None:
    payload = bytes(range(256)) * 1024
    connection, _ = connected(b"$%d\r\n%b\r\n:1\r\n" % (len(payload), payload), step)
    target = bytearray(len(payload) + 3)
    assert connection.receive_bulk_into(memoryview(target)) == len(payload)
    assert target == payload + bytes(3)
    assert connection.receive() == 1


def test_a_request_is_sent_as_an_array_of_bulks() -> None:
    connection, stream = connected(b"")
    connection.send([b"KVC.WRITE", memoryview(b"payload"), b""])
    assert stream.sent == b"*3\r\n$9\r\nKVC.WRITE\r\n$7\r\npayload\r\n$0\r\n\r\n"


def test_a_payload_larger_than_its_buffer_is_refused() -> None:
    connection, _ = connected(b"$5\r\nabcde\r\n")
    with pytest.raises(ValueError, match="5 bytes for a buffer of 4"):
        connection.receive_bulk_into(memoryview(bytearray(4)))


@pytest.mark.parametrize("cut", [1, 3, 6, 9])
def test_a_stream_that_ends_inside_a_reply_is_a_connection_error(cut: int) -> None:
    connection, _ = connected(b"$5\r\nabcde\r\n"[:cut])
    with pytest.raises(ConnectionError, match="closed"):
        connection.receive()


def test_a_line_that_never_ends_is_refused() -> None:
    connection, _ = connected(b"+" + b"x" * 100_000)
    with pytest.raises(ConnectionError, match="endless"):
        connection.receive()


def test_small_buffers_are_joined_and_large_ones_are_sent_as_they_are() -> None:
    large = memoryview(bytes(JOIN_BELOW_BYTES))
    pieces = list(sendable([b"a", b"b", large, b"c"]))
    assert pieces[0] == b"ab"
    assert pieces[1] is large
    assert pieces[2:] == [b"c"]


def test_many_requests_are_all_answered_before_the_first_error_is_raised() -> None:
    cache, stream = payloads(b"+OK\r\n-QUOTA group g retry_ms=5\r\n-NOSESSION x\r\n+OK\r\n:9\r\n")
    with pytest.raises((QuotaError, NoSessionError)) as caught:
        cache.request_each([[b"KVC.WRITE"]] * 4)
    assert type(caught.value) is QuotaError
    assert not stream.closed
    assert cache.request([b"NEXT"]) == 9


PIECES = [
    Run(first, 2, Span(0, 4, "m", "memory", 1, 1, "s", 0, 3, 1, b"", 3), 0) for first in (0, 2)
]


def read(cache: Payloads, pieces: list[Run]) -> list[tuple[int, int, bytes]]:
    got: list[tuple[int, int, bytes]] = []
    keys, options = Keys(1, b"wxyz"), [b"LEASE", b"l"]
    cache.read_pieces(pieces, keys, 3, options, lambda f, c, data: got.append((f, c, bytes(data))))
    return got


def test_blocks_are_read_piece_by_piece_and_the_next_piece_is_asked_for_first() -> None:
    cache, stream = payloads(
        b"*2\r\n$3\r\nabc\r\n$3\r\ndef\r\n*2\r\n$3\r\nghi\r\n$3\r\njkl\r\n:8\r\n"
    )
    assert read(cache, PIECES) == [(0, 2, b"abcdef"), (2, 2, b"ghijkl")]
    assert stream.sent.count(b"KVC.MREAD\r\n$1\r\ni\r\n$5\r\nEXACT\r\n$5\r\nLEASE") == 2
    assert stream.sent.index(b"$2\r\nwx") < stream.sent.index(b"$2\r\nyz")
    assert cache.request([b"NEXT"]) == 8


def test_a_missing_block_is_stale() -> None:
    cache, stream = payloads(b"*2\r\n$-1\r\n$3\r\ndef\r\n:4\r\n")
    with pytest.raises(StaleBlockError, match="1 blocks from index 0 on are gone"):
        read(cache, PIECES[:1])
    assert stream.closed


@pytest.mark.parametrize(
    "reply", [b"*1\r\n$3\r\nabc\r\n", b"*2\r\n$2\r\nab\r\n$3\r\ndef\r\n", b"+OK\r\n"]
)
def test_a_reply_that_is_not_what_was_asked_for_breaks_the_connection(reply: bytes) -> None:
    cache, stream = payloads(reply)
    with pytest.raises(ConnectionError):
        read(cache, PIECES[:1])
    assert stream.closed


def test_an_error_in_the_middle_of_an_array_closes_the_connection() -> None:
    cache, stream = payloads(b"*2\r\n-NOSESSION x\r\n$3\r\ndef\r\n")
    with pytest.raises(NoSessionError):
        read(cache, PIECES[:1])
    assert stream.closed


def test_a_broken_connection_is_closed_and_not_kept() -> None:
    cache, stream = payloads(b"$5\r\nab")
    with pytest.raises(ConnectionError):
        cache.request([b"KVC.READ"])
    assert stream.closed


def test_an_address_is_read_from_a_client_s_settings() -> None:
    pool = redis.ConnectionPool.from_url("redis://u:secret@h:7", socket_timeout=3.0)
    address = Address.of_pool(pool)
    assert (address.host, address.port, address.timeout_s) == ("h", 7, 3.0)
    assert address.login == [b"AUTH", b"u", b"secret"]
    assert "secret" not in repr(address)


def test_a_unix_socket_is_known_by_its_path() -> None:
    address = Address.of_pool(redis.ConnectionPool.from_url("unix:///run/hotplate.sock"))
    assert (address.path, address.login) == ("/run/hotplate.sock", None)


def test_a_tls_client_is_refused_rather_than_spoken_to_in_the_clear() -> None:
    with pytest.raises(ValueError, match="TLS"):
        Address.of_pool(redis.ConnectionPool.from_url("rediss://h:7"))
