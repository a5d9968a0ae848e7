"""COMMAND: told from the specs, in Redis' shapes."""

import pytest
from tests.testing.server_console import ServerConsole


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
