"""Server and connection commands, frame by frame beside a real Redis.

Only calls whose answer does not depend on time, address or version. What differs on purpose is not
here: features that this version lacks, and help texts.
"""

import socket
from collections.abc import Iterator

import pytest
from tests.testing.reply_schema import parse_frame
from tests.testing.server_console import ServerConsole

from hotplate.bench.process import ServerProcess

CALLS = """
PING|PING hello|PING a b|ping|ECHO|ECHO x|ECHO x y|NOPE|NOPE a b c|nope|SELECT 1|SELECT 16
SELECT -1|SELECT x|SELECT|SELECT 0|AUTH|AUTH x|AUTH a b|AUTH a b c|HELLO 4|HELLO x|HELLO 2 foo
HELLO 2 AUTH a|HELLO 2 AUTH a b|HELLO 2 SETNAME|CLIENT|CLIENT NOPE|CLIENT ID x|CLIENT GETNAME
CLIENT SETNAME me|CLIENT GETNAME|CLIENT SETNAME|CLIENT KILL 1.1.1.1:1|CLIENT KILL ID 9999
CLIENT KILL ID x|CLIENT KILL ID 0|CLIENT KILL TYPE x|CLIENT KILL TYPE pubsub|CLIENT KILL SKIPME x
CLIENT KILL USER nobody|CLIENT KILL foo|CLIENT KILL foo bar|CLIENT KILL ADDR 1.1.1.1:1
CLIENT KILL|CLIENT KILL ID 1 foo|CLIENT LIST TYPE x|CLIENT LIST TYPE pubsub|CLIENT LIST ID
CLIENT LIST ID 1 x|CLIENT LIST foo|CLIENT LIST ID 99999|CLIENT UNBLOCK 9999|CLIENT UNBLOCK x
CLIENT UNBLOCK 9999 x|CLIENT UNBLOCK 9999 ERROR|CLIENT NO-EVICT maybe|CLIENT NO-EVICT on
CLIENT NO-EVICT off|CLIENT REPLY x|CLIENT REPLY ON|CLIENT GETREDIR|CLIENT TRACKINGINFO
CONFIG|CONFIG NOPE|CONFIG GET|CONFIG GET nope|CONFIG GET maxclients|CONFIG GET MAXCLIENTS
CONFIG GET maxmemory-p*|CONFIG SET|CONFIG SET timeout|CONFIG SET timeout x|CONFIG SET timeout -1
CONFIG SET maxclients 0|CONFIG SET nope 1|CONFIG SET timeout 5 nope 1|CONFIG SET hz 10 hz 10
CONFIG SET protected-mode x|CONFIG SET proto-max-bulk-len 1zz|CONFIG SET databases 3
CONFIG SET loglevel x|CONFIG SET daemonize yes|CONFIG SET client-output-buffer-limit x
CONFIG SET hz 0|CONFIG GET hz|CONFIG SET timeout 0|CONFIG REWRITE|CONFIG RESETSTAT x
INFO cluster|INFO nope|INFO CLUSTER nope|TIME x|ROLE|ROLE x|SHUTDOWN foo|SHUTDOWN NOSAVE SAVE
SHUTDOWN ABORT|SHUTDOWN ABORT NOW|REPLICAOF NO ONE|REPLICAOF x|SLAVEOF no one|CLUSTER|CLUSTER INFO
CLUSTER SLOTS|CLUSTER HELP|LOLWUT VERSION x|DEBUG SLEEP 0|COMMAND NOPE|COMMAND COUNT x
COMMAND INFO get|COMMAND INFO nope|COMMAND INFO mset nope client\\|id
COMMAND LIST x|COMMAND LIST FILTERBY x y|COMMAND LIST FILTERBY MODULE x|COMMAND DOCS nope
COMMAND LIST FILTERBY PATTERN msetn*|COMMAND LIST FILTERBY ACLCAT nope|COMMAND GETKEYS
COMMAND GETKEYS mset a 1 b 2|COMMAND GETKEYS set a|COMMAND GETKEYS nope a|COMMAND GETKEYS ping a
COMMAND GETKEYSANDFLAGS mset a 1 b 2|COMMAND GETKEYSANDFLAGS get a
MULTI|MULTI|CLIENT NOPE|EXEC|MULTI|COMMAND NOPE x|EXEC|MULTI|PING|SELECT 99|EXEC|RESET|EXEC
WATCH a|UNWATCH|MULTI|RESET|PING
"""


@pytest.fixture
def theirs(redis_server: ServerProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", redis_server.port), timeout=10) as client:
        yield client


def ask(client: socket.socket, argv: list[bytes]) -> bytes:
    """One command's frame."""
    client.sendall(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv))
    data = b""
    while True:
        data += client.recv(1 << 16)
        try:
            parse_frame(data)
        except (ValueError, IndexError, AssertionError):
            continue
        return data


@pytest.mark.e2e
@pytest.mark.parametrize("resp", [2, 3])
def test_the_same_calls_get_the_same_frames(theirs: socket.socket, resp: int) -> None:
    console = ServerConsole(resp=resp)
    ask(theirs, [b"HELLO", b"%d" % resp])
    different: list[tuple[bytes, bytes, bytes]] = []
    for line in CALLS.strip().replace("\n", "|").replace("\\|", "\0").split("|"):
        argv = [word.replace(b"\0", b"|") for word in line.encode().split()]
        ours, expected = console.execute(argv), ask(theirs, argv)
        if ours != expected:
            different.append((line.encode(), ours, expected))
    assert different == []
