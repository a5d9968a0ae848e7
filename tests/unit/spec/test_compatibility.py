"""The page about compatibility knows every command of Redis, and tells the truth about ours."""

import pytest
from tests.commands.test_command_facts import ask
from tests.testing.server_console import ServerConsole
from tests.tools.compatibility import REFUSED, compatibility_markdown
from tests.tools.redis_commands import COMMANDS_BY_GROUP

from hotplate.bench.process import ServerProcess
from hotplate.commands import build_registry
from hotplate.errors import CommandError

OWN = ("KVC.", "CL.", "LB.", "LBQ.")
NAMES = {name for names in COMMANDS_BY_GROUP.values() for name in names}


@pytest.mark.e2e
def test_every_command_of_a_real_redis_is_named(redis_server: ServerProcess) -> None:
    docs = ask(redis_server.port, b"COMMAND", b"DOCS")
    theirs = {
        name
        for command, facts in docs.items()
        for name in facts.get("subcommands", {command: facts})
    }
    assert theirs - NAMES == set()


def test_our_commands_that_redis_has_are_named() -> None:
    ours = {
        command.name.decode()
        for command in build_registry().walk()
        if command.handler is not None and not command.spec.name.startswith(OWN)
    }
    # COMMAND is a container in Redis; policies of groups are our own, and what the log says of them
    assert ours - NAMES - set(REFUSED) == {"command", "xgroup|policy", "xrelease"}


def test_the_page_counts_what_it_lists() -> None:
    page = compatibility_markdown(build_registry())
    assert "| Bitmap | 7 | 7 |" in page
    assert "| Vector set | 0 | 13 |" in page
    assert "`BITFIELD_RO`" in page.partition("## Bitmap")[2].partition("##")[0]
    assert "Not supported" not in page.partition("## Bitmap")[2].partition("##")[0]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_said_to_be_refused_is(name: str) -> None:
    console = ServerConsole()
    with pytest.raises(CommandError, match=REFUSED[name]):
        console(name.encode(), *([b"x", b"1"] if name != "sync" else []))
