"""SUBSCRIBE to SPUBLISH: who is told what, in which order, in both protocols."""

import pytest
from tests.testing.connection_bench import Bench, request
from tests.testing.console import Console
from tests.testing.server_console import FakeLink, ServerConsole
from tests.testing.subscriber import Subscriber, messages

from hotplate.engine.context import Gate
from hotplate.errors import CommandError

NOT_ALLOWED = (
    "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
    " are allowed in this context"
)


@pytest.fixture(params=[2, 3])
def ear(request: pytest.FixtureRequest) -> Subscriber:
    return Subscriber(resp=request.param)


@pytest.fixture
def voice(ear: Subscriber) -> ServerConsole:
    return ServerConsole(engine=ear.engine)


# -- listening -----------------------------------------------------------------------------------


def test_every_channel_is_confirmed_with_the_number_of_subscriptions(ear: Subscriber) -> None:
    assert ear.listen("SUBSCRIBE", "a", "a", "b") == [
        [b"subscribe", b"a", 1],
        [b"subscribe", b"a", 1],
        [b"subscribe", b"b", 2],
    ]
    assert ear.listen("PSUBSCRIBE", "a*") == [[b"psubscribe", b"a*", 3]]
    assert ear.listen("SSUBSCRIBE", "s") == [[b"ssubscribe", b"s", 1]]
    assert ear.listen("UNSUBSCRIBE", "b", "c") == [
        [b"unsubscribe", b"b", 2],
        [b"unsubscribe", b"c", 2],
    ]
    assert ear.listen("SUNSUBSCRIBE") == [[b"sunsubscribe", b"s", 0]]
    assert ear.listen("UNSUBSCRIBE") == [[b"unsubscribe", b"a", 1]]
    assert ear.listen("PUNSUBSCRIBE") == [[b"punsubscribe", b"a*", 0]]
    assert not ear.ctx.gates & Gate.SUBSCRIBED


def test_to_leave_nothing_is_confirmed_once_without_a_name(ear: Subscriber) -> None:
    assert ear.listen("UNSUBSCRIBE") == [[b"unsubscribe", None, 0]]
    assert ear.listen("PUNSUBSCRIBE") == [[b"punsubscribe", None, 0]]
    assert ear.listen("SUNSUBSCRIBE") == [[b"sunsubscribe", None, 0]]
    ear.listen("SUBSCRIBE", "a")
    assert ear.listen("PUNSUBSCRIBE") == [[b"punsubscribe", None, 1]]


def test_confirmations_are_arrays_in_resp2_and_pushes_in_resp3(ear: Subscriber) -> None:
    start = b"*3" if ear.ctx.resp == 2 else b">3"
    assert ear.execute([b"SUBSCRIBE", b"a"]) == start + b"\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"


# -- telling -------------------------------------------------------------------------------------


def test_a_message_reaches_those_who_listen_once_for_each_way(
    ear: Subscriber, voice: ServerConsole
) -> None:
    other = Subscriber(ear.engine, resp=3)
    ear.listen("SUBSCRIBE", "news", "b")
    ear.listen("PSUBSCRIBE", "n*", "*s", "x*")
    other.listen("SUBSCRIBE", "news")
    assert voice("PUBLISH", "news", b"\r\n\x00") == 4
    assert ear.heard() == [
        [b"message", b"news", b"\r\n\x00"],
        [b"pmessage", b"n*", b"news", b"\r\n\x00"],
        [b"pmessage", b"*s", b"news", b"\r\n\x00"],
    ]
    assert other.ear.frames == b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\n\r\n\x00\r\n"
    assert voice("PUBLISH", "nobody", "m") == 1
    assert voice("PUBLISH", "", "") == 0


def test_shard_channels_are_a_world_of_their_own(ear: Subscriber, voice: ServerConsole) -> None:
    ear.listen("SUBSCRIBE", "a")
    ear.listen("SSUBSCRIBE", "a")
    ear.listen("PSUBSCRIBE", "*")
    assert voice("SPUBLISH", "a", "m") == 1
    assert ear.heard() == [[b"smessage", b"a", b"m"]]
    assert voice("PUBLISH", "a", "m") == 2
    assert voice("SPUBLISH", "b", "m") == 0


def test_nobody_is_told_after_leaving_or_going(ear: Subscriber, voice: ServerConsole) -> None:
    ear.listen("SUBSCRIBE", "a", "b")
    ear.listen("PSUBSCRIBE", "a")
    ear.listen("SSUBSCRIBE", "a")
    ear.listen("UNSUBSCRIBE", "a")
    assert voice("PUBLISH", "a", "m") == 1
    ear.engine.disconnect(ear.ctx)
    assert voice("PUBLISH", "a", "m") == voice("PUBLISH", "b", "m") == 0
    assert voice("SPUBLISH", "a", "m") == 0
    assert voice("PUBSUB CHANNELS") == voice("PUBSUB SHARDCHANNELS") == []
    assert voice("PUBSUB NUMPAT") == 0


def test_the_protocol_of_the_moment_decides_how_a_message_looks() -> None:
    ear = Subscriber(resp=3)
    ear.listen("SUBSCRIBE", "a")
    ear("HELLO 2")
    ServerConsole(engine=ear.engine)("PUBLISH a m")
    assert ear.ear.frames.startswith(b"*3\r\n$7\r\nmessage\r\n")


# -- one's own messages --------------------------------------------------------------------------


def test_a_message_of_ones_own_follows_the_reply() -> None:
    ear = Subscriber(resp=3)
    ear.listen("SUBSCRIBE", "a")
    message = b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n"
    assert ear.execute([b"PUBLISH", b"a", b"m"]) == b":1\r\n" + message
    assert ear.execute([b"PING"]) == b"+PONG\r\n"
    ear("MULTI")
    ear("PUBLISH a m")
    ear("GET x")
    assert ear.execute([b"EXEC"]) == b"*2\r\n:1\r\n_\r\n" + message
    assert ear.ear.frames == b""


def test_a_transaction_may_subscribe_and_publish(ear: Subscriber) -> None:
    ear("MULTI")
    ear("SUBSCRIBE a")
    ear("PUBLISH a m")
    frames = Console.execute(ear, [b"EXEC"])  # unchecked: in RESP2 the message looks like a reply
    kind = b"*" if ear.ctx.resp == 2 else b">"
    confirmation = kind + b"3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    message = kind + b"3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n"
    assert frames == b"*2\r\n" + confirmation + b":1\r\n" + message


def test_a_client_that_wants_no_replies_gets_its_messages(ear: Subscriber) -> None:
    ear.execute([b"CLIENT", b"REPLY", b"OFF"])
    assert ear.listen("SUBSCRIBE", "a") == [[b"subscribe", b"a", 1]]
    if ear.ctx.resp == 3:
        frames = ear.run_unchecked([b"PUBLISH", b"a", b"m"])
        assert messages(frames) == [[b"message", b"a", b"m"]]
    assert ear.execute([b"PING"]) == b""


# -- what a subscriber may do ----------------------------------------------------------------------


def test_in_resp2_a_subscriber_may_do_little(ear: Subscriber) -> None:
    ear.listen("SSUBSCRIBE", "a")
    if ear.ctx.resp == 3:
        assert ear("GET x") is None
        assert ear("PING") == b"PONG"
        return
    for words, name in (("GET x", "get"), ("HELLO 3", "hello"), ("CLIENT LIST", "client|list")):
        assert ear.refused(words) == NOT_ALLOWED.format(name)
    assert ear.refused("GET") == "ERR wrong number of arguments for 'get' command"
    assert ear("PING") == [b"pong", b""]
    assert ear("PING hello") == [b"pong", b"hello"]
    assert ear.listen("SUNSUBSCRIBE", "a") == [[b"sunsubscribe", b"a", 0]]
    assert ear("GET x") is None


def test_reset_ends_all_subscriptions(ear: Subscriber, voice: ServerConsole) -> None:
    ear.listen("SUBSCRIBE", "a")
    ear.listen("PSUBSCRIBE", "a")
    assert ear("RESET") == b"RESET"
    assert voice("PUBLISH a m") == 0
    assert ear("GET x") is None
    assert ear.listen("SUBSCRIBE", "a") == [[b"subscribe", b"a", 1]]


def test_quit_works_while_subscribed(ear: Subscriber) -> None:
    ear.listen("SUBSCRIBE", "a")
    assert ear("QUIT") == b"OK"
    assert ear.ctx.gates & Gate.CLOSING


# -- asking ----------------------------------------------------------------------------------------


def test_pubsub_tells_who_listens(ear: Subscriber, voice: ServerConsole) -> None:
    ear.listen("SUBSCRIBE", "a1", "b1")
    ear.listen("PSUBSCRIBE", "a*", "b*")
    ear.listen("SSUBSCRIBE", "s1")
    Subscriber(ear.engine).listen("PSUBSCRIBE", "a*")
    assert voice("PUBSUB CHANNELS") == [b"a1", b"b1"]
    assert voice("PUBSUB CHANNELS a?") == [b"a1"]
    assert voice("PUBSUB NUMSUB") == []
    assert voice("PUBSUB NUMSUB a1 zz") == [b"a1", 1, b"zz", 0]
    assert voice("PUBSUB NUMPAT") == 2
    assert voice("PUBSUB SHARDCHANNELS") == [b"s1"]
    assert voice("PUBSUB SHARDCHANNELS x*") == []
    assert voice("PUBSUB SHARDNUMSUB s1 a1") == [b"s1", 1, b"a1", 0]
    assert voice("PUBSUB HELP")[0].startswith(b"PUBSUB <subcommand>")
    with pytest.raises(CommandError, match="unknown subcommand 'CHANNELS'"):
        voice("PUBSUB CHANNELS a b")


def test_client_list_and_info_know_subscribers(ear: Subscriber, voice: ServerConsole) -> None:
    ear.listen("SUBSCRIBE", "a", "b")
    ear.listen("PSUBSCRIBE", "a*")
    ear.listen("SSUBSCRIBE", "s")
    (line,) = voice("CLIENT LIST TYPE pubsub").splitlines()
    assert b" flags=P " in line
    assert b" sub=2 psub=1 ssub=1 " in line
    (line,) = voice("CLIENT LIST TYPE normal").splitlines()
    assert b" flags=N " in line
    text = voice("INFO").decode()
    for field in (
        "pubsub_clients:1",
        "pubsub_channels:2",
        "pubsub_patterns:1",
        "pubsubshard_channels:1",
    ):
        assert field in text
    assert voice("CLIENT KILL TYPE pubsub") == 1
    assert ear.ear.closed


# -- many who listen -------------------------------------------------------------------------------


def message(channel: str, text: str) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        *(len(channel), channel.encode()),
        *(len(text), text.encode()),
    )


def pipeline(*lines: str) -> bytes:
    return b"".join(request(*line.split()) for line in lines)


def test_many_hear_rows_of_messages_in_order_whatever_comes_between() -> None:
    bench = Bench()
    crowd = [bench.client()[0] for _ in range(6)]
    for transport in crowd:
        bench.ask(transport, pipeline("SUBSCRIBE a", "SUBSCRIBE b"))
    bench.ask(crowd[0], pipeline("PSUBSCRIBE *c"))
    voice, _ = bench.client()
    lines = ["PUBLISH a 1", "PUBLISH a 2", "PUBLISH b 3", "PUBLISH a 4", "PUBLISH none 5"]
    answered = bench.ask(voice, pipeline(*lines, "MULTI", "PUBLISH a 6", "EXEC", "PUBLISH a 7"))
    assert answered.startswith(b":6\r\n" * 4 + b":0\r\n+OK")
    rows = ["1a", "2a", "3b", "4a", "6a", "7a"]
    expected = b"".join(message(row[1], row[0]) for row in rows)
    assert [transport.take() for transport in crowd] == [expected] * 6


def test_who_joins_or_leaves_a_crowd_hears_what_was_said_while_it_was_there() -> None:
    bench = Bench()
    voice, _ = bench.client()  # it is read first
    crowd = [bench.client()[0] for _ in range(5)]
    for transport in crowd:
        bench.ask(transport, pipeline("SUBSCRIBE a"))
    late, _ = bench.client()
    voice.send(pipeline("PUBLISH a 1"))
    crowd[0].send(pipeline("UNSUBSCRIBE a"))
    late.send(pipeline("SUBSCRIBE a"))
    bench.settle()
    assert crowd[0].take().startswith(message("a", "1") + b"*3\r\n$11\r\nunsubscribe")
    assert message("a", "1") not in late.take()
    assert [transport.take() for transport in crowd[1:]] == [message("a", "1")] * 4
    assert bench.ask(voice, pipeline("PUBLISH a 2")).endswith(b":5\r\n")
    assert late.take() == message("a", "2")


def test_a_row_for_many_is_handed_over_once_for_each() -> None:
    bench = Bench()
    crowd = [bench.client() for _ in range(5)]
    pushed: list[bytes] = []
    for transport, connection in crowd:
        bench.ask(transport, pipeline("SUBSCRIBE a"))
        connection.ctx.link = Counting(pushed)
    voice, _ = bench.client()
    bench.ask(voice, pipeline(*["PUBLISH a x"] * 100))
    assert len(pushed) == 5
    assert set(pushed) == {message("a", "x") * 100}


class Counting(FakeLink):
    """A connection that keeps each push."""

    def __init__(self, pushed: list[bytes]) -> None:
        super().__init__()
        self._pushed = pushed

    def push(self, frames: bytes) -> None:
        """Keep it."""
        self._pushed.append(frames)
