"""Replies leave when what was logged before them is safe, in order, to whomever is still there."""

import pytest
from tests.testing.connection_bench import Bench, request

from hotplate.server.barrier import ReplyBarrier


class Takes:
    """As much of a journal as the barrier looks at."""

    def __init__(self) -> None:
        self.taken = 0
        self.is_pending = False
        self.came: list[bytes] = []

    def came_as(self, requests: list[list[bytes]], pieces: list[bytes]) -> None:
        """Remember how requests came."""
        self.came += pieces


class Kept(Bench):
    """Every INCR is logged; `settle_log` makes safe what was."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: ReplyBarrier = self.table.barrier
        self.journal = Takes()
        self.barrier.journal = self.journal  # type: ignore[assignment]
        self.flushes = 0
        self.is_slow = True  # an fsync is needed
        self.barrier.write_log = self._write_log
        self.barrier.soon = self.loop.call_soon
        command = self.engine.commands.table[b"INCR"]
        handler = command.handler
        assert handler is not None
        command.run = None

        def record(ctx: object, argv: list[bytes]) -> object:
            reply = handler(ctx, argv)
            if not self.journal.is_pending:
                self.journal.is_pending = True
                self.barrier.on_pending()
            return reply

        command.handler = record

    def _write_log(self) -> None:
        self.flushes += 1
        if not self.is_slow:
            self.settle_log()

    def take(self) -> int:
        """The log takes what is pending."""
        self.journal.is_pending = False
        self.journal.taken += 1
        return self.journal.taken

    def settle_log(self) -> None:
        """All that was logged is safe."""
        self.barrier.on_settled(self.take())


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_a_reply_leaves_only_when_the_log_is_safe(kept: Kept) -> None:
    transport, _ = kept.client()
    assert kept.ask(transport, request("INCR", "n")) == b""
    kept.settle_log()
    kept.settle()
    assert transport.take() == b":1\r\n"
    assert not kept.barrier.closed


def test_all_clients_of_a_pass_share_one_flush(kept: Kept) -> None:
    kept.is_slow = False
    clients = [kept.client()[0] for _ in range(5)]
    for transport in clients:
        transport.send(request("INCR", "n"))
    kept.settle()
    assert kept.flushes == 1
    assert [transport.take() for transport in clients] == [b":%d\r\n" % n for n in range(1, 6)]


def test_what_is_shown_to_others_is_as_safe(kept: Kept) -> None:
    writer, _ = kept.client()
    reader, _ = kept.client()
    kept.ask(writer, request("INCR", "n"))
    assert kept.ask(reader, request("GET", "n")) == b""
    kept.settle_log()
    kept.settle()
    assert reader.take() == b"$1\r\n1\r\n"


def test_who_writes_during_an_fsync_waits_for_the_next_one(kept: Kept) -> None:
    first, _ = kept.client()
    second, _ = kept.client()
    reader, _ = kept.client()
    kept.ask(first, request("INCR", "n"))
    takes = kept.take()
    kept.ask(reader, request("GET", "n"))
    kept.ask(second, request("INCR", "n"))
    kept.barrier.on_settled(takes)
    kept.settle()
    assert first.take() == b":1\r\n"
    assert reader.take() == b"$1\r\n1\r\n"
    assert second.take() == b""
    assert kept.barrier.closed
    kept.settle_log()
    kept.settle()
    assert second.take() == b":2\r\n"


def test_a_pipeline_goes_on_once_its_replies_left(kept: Kept) -> None:
    transport, _ = kept.client()
    transport.send(request("INCR", "n"))
    kept.loop.run_pass()
    transport.send(request("INCR", "n") + request("INCR", "n"))
    kept.settle()
    assert transport.take() == b""
    assert kept.engine.stats.commands_processed == 1
    kept.settle_log()
    kept.settle()
    assert transport.take() == b":1\r\n"
    kept.settle_log()
    kept.settle()
    assert transport.take() == b":2\r\n:3\r\n"


def test_a_client_that_quits_hears_all_of_it(kept: Kept) -> None:
    transport, _ = kept.client()
    kept.ask(transport, request("INCR", "n") + request("QUIT"))
    assert not transport.lost
    kept.settle_log()
    kept.settle()
    assert transport.take() == b":1\r\n+OK\r\n"
    assert transport.lost
    assert kept.engine.clients == {}


def test_a_client_that_sends_no_more_hears_all_of_it(kept: Kept) -> None:
    transport, _ = kept.client()
    transport.send(request("INCR", "n"))
    kept.loop.run_pass()
    transport.send(request("INCR", "n"))
    transport.send_eof()
    kept.settle()
    for _ in range(2):
        kept.settle_log()
        kept.settle()
    assert transport.take() == b":1\r\n:2\r\n"
    assert transport.lost


def test_a_client_that_went_is_forgotten(kept: Kept) -> None:
    transport, connection = kept.client()
    kept.ask(transport, request("INCR", "n"))
    transport.lose()
    kept.settle()
    kept.settle_log()
    kept.settle()
    assert connection.output_bytes() == 0
    assert kept.engine.clients == {}


def test_large_payloads_wait_as_well(kept: Kept) -> None:
    transport, _ = kept.client()
    large = b"x" * 100_000
    transport.send(request("INCR", "n"))
    kept.loop.run_pass()
    transport.send(request("SET", "large", large) + request("STRLEN", "large"))
    kept.settle()
    kept.settle_log()
    kept.settle()
    assert transport.take().endswith(b":100000\r\n")


def test_while_the_log_fails_readers_are_answered_and_writers_wait(kept: Kept) -> None:
    writer, _ = kept.client()
    reader, _ = kept.client()
    kept.ask(writer, request("INCR", "n"))
    kept.barrier.on_failure("disk full")
    kept.settle()
    assert kept.ask(reader, request("GET", "n")) == b"$1\r\n1\r\n"
    assert writer.take() == b""
    kept.barrier.on_failure(None)
    kept.settle_log()
    kept.settle()
    assert writer.take() == b":1\r\n"


def test_the_journal_hears_how_a_whole_pipeline_came(kept: Kept) -> None:
    kept.is_slow = False
    transport, _ = kept.client()
    pipeline = request("INCR", "a") * 3
    for piece in (pipeline, pipeline + request("INCR", "a")[:-1], b"\n"):
        transport.send(piece)
        kept.settle()
    assert kept.journal.came == [pipeline]


def test_a_request_that_only_reads_is_not_told(kept: Kept) -> None:
    transport, _ = kept.client()
    transport.send(request("GET", "a") * 3)
    kept.settle()
    assert kept.journal.came == []
