"""COMMAND: told from the specs, in Redis' shapes, and with Redis' facts."""

import socket
from typing import Any

import hiredis
import pytest
from tests.testing.server_console import ServerConsole

from hotplate.bench.process import ServerProcess

# our arity is that of Redis 7.4, or the command takes more here than in 7.0
NEWER_THAN_7_0 = {"command|getkeys", "command|getkeysandflags"}


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


def test_count_is_the_number_of_commands(console: ServerConsole) -> None:
    assert console("COMMAND COUNT") == len(console("COMMAND")) == len(console("COMMAND INFO"))


def test_info_has_the_shape_of_redis(console: ServerConsole) -> None:
    frames = console.execute([b"COMMAND", b"INFO", b"get"])
    if console.ctx.resp == 2:
        assert frames == (
            b"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
            b"*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n"
            b"+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n"
            b"*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n"
            b"$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0"
            b"\r\n*0\r\n"
        )
    else:
        assert frames.startswith(b"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n")
    assert console("COMMAND INFO nope GET config|get")[0] is None
    assert console("COMMAND INFO config|get")[0][0] == b"config|get"


def test_keys_are_found_in_a_call(console: ServerConsole) -> None:
    assert console("COMMAND GETKEYS MSET a 1 b 2") == [b"a", b"b"]
    assert console("COMMAND GETKEYS rename a b") == [b"a", b"b"]
    assert console("COMMAND GETKEYS object encoding k") == [b"k"]
    found = console("COMMAND GETKEYSANDFLAGS SET k v")
    assert found[0][0] == b"k"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("GETKEYS nope", "Invalid command specified"),
        ("GETKEYS ping", "The command has no key arguments"),
        ("GETKEYS get", "Invalid number of arguments specified for command"),
        ("GETKEYS", "wrong number of arguments for 'command|getkeys' command"),
        ("nope", "unknown subcommand 'nope'. Try COMMAND HELP."),
        ("LIST x", "syntax error"),
        ("LIST FILTERBY x y", "syntax error"),
    ],
)
def test_what_makes_no_sense_is_refused(console: ServerConsole, line: str, text: str) -> None:
    assert console.refused(f"COMMAND {line}") == f"ERR {text}"


def test_an_instance_of_the_kv_cache_is_no_key(console: ServerConsole) -> None:
    text = "ERR The command has no key arguments"
    assert console.refused("COMMAND GETKEYS KVC.GETLOC i COUNT KEYS 1 k") == text


def test_the_list_can_be_filtered(console: ServerConsole) -> None:
    everything = console("COMMAND LIST")
    assert {b"get", b"client|list", b"kvc.getloc"} <= set(everything)
    transactions = console("COMMAND LIST FILTERBY ACLCAT transaction")
    assert set(transactions) == {b"multi", b"exec", b"discard", b"watch", b"unwatch"}
    assert console("COMMAND LIST FILTERBY ACLCAT nope") == []
    assert console("COMMAND LIST FILTERBY MODULE x") == []
    assert set(console("COMMAND LIST FILTERBY PATTERN GETS*")) == {b"getset"}


def test_docs_know_arguments_and_subcommands(console: ServerConsole) -> None:
    frames = console.execute([b"COMMAND", b"DOCS", b"config", b"nope"])
    assert b"config|get" in frames
    assert b"nope" not in frames
    one = console.execute([b"COMMAND", b"DOCS", b"config|get"])
    head = b"%1\r\n" if console.ctx.resp == 3 else b"*2\r\n"
    assert one.startswith(head + b"$10\r\nconfig|get\r\n")


def test_every_command_is_documented(console: ServerConsole) -> None:
    docs = console("COMMAND DOCS")
    names = set(docs if isinstance(docs, dict) else docs[::2])
    assert len(names) == console("COMMAND COUNT")
    assert console("COMMAND HELP")[0].startswith(b"COMMAND <subcommand>")


# -- beside a real Redis -----------------------------------------------------------------------


def facts(entries: Any) -> dict[str, tuple[Any, ...]]:
    """COMMAND INFO in RESP2, by name, subcommands included; what has no order as sets."""
    found: dict[str, tuple[Any, ...]] = {}
    for entry in entries:
        if entry is None:
            continue
        name, arity, flags, first, last, step, categories, _, key_specs, children = entry
        found[name.decode()] = (
            arity,
            frozenset(flags),
            (first, last, step),
            frozenset(categories),
            [_plain(spec) for spec in key_specs],
        )
        found |= facts(children)
    return found


def _plain(value: Any) -> Any:
    """A RESP2 reply with lists of flags sorted."""
    if isinstance(value, list) and all(isinstance(item, bytes) for item in value):
        return sorted(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value


def raw_info(port: int) -> Any:
    """COMMAND INFO as a RESP2 client sees it, not interpreted."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"*1\r\n$7\r\nCOMMAND\r\n")
        reader = hiredis.Reader()
        while (reply := reader.gets()) is False:
            reader.feed(client.recv(1 << 16))
        return reply


@pytest.mark.e2e
def test_facts_are_those_of_a_real_redis(redis_server: ServerProcess) -> None:
    theirs = facts(raw_info(redis_server.port))
    reader = hiredis.Reader()
    reader.feed(ServerConsole().execute([b"COMMAND"]))
    ours = facts(reader.gets())
    common = set(ours) & set(theirs) - NEWER_THAN_7_0
    assert len(common) > 90
    different = {name: (ours[name], theirs[name]) for name in common if ours[name] != theirs[name]}
    assert different == {}
