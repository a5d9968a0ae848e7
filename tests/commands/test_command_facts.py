"""COMMAND INFO and COMMAND DOCS of every command that a real redis-server 7.0 has too.

What differs is in a table, with its reason; a difference that is gone must leave the table.
"""

import socket
from collections.abc import Iterator
from typing import Any, Final

import hiredis
import pytest
from tests.testing.server_console import ServerConsole

from hotplate.bench.process import ServerProcess

Fact = tuple[str, str]  # the command, the field

_RENAMED: Final = "the name that the argument has had since 7.2"
_WITHSCORE: Final = "WITHSCORE came with 7.2"
_LIMITED_READS: Final = "MAXCOUNT and MAXSIZE came with 8.10"
_MAY_BE_NONE: Final = "documented as optional since 7.2; 7.0 takes none of them, too"
_ALL_NODES: Final = "tips that the command has had since 7.2"
_TAKES_NAMES: Final = "since 7.2 the arguments of the command that is asked for are optional"
_ONE_FOR_ALL: Final = "no cluster: one command refuses every subcommand"
_WORDS: Final = "a container in its handler: 7.0 documents no arguments of it"

EXPLAINED: Final[dict[Fact, str]] = {
    ("client|kill", "arguments"): f"{_RENAMED}; SKIPME is a choice and MAXAGE is new (7.4)",
    ("client|list", "arguments"): f"{_RENAMED}; ID takes several without a block",
    ("client|unblock", "arguments"): _RENAMED,
    ("cluster", "arguments"): _ONE_FOR_ALL,
    ("command|getkeys", "arguments"): "documented since 7.2",
    ("command|getkeys", "arity"): _TAKES_NAMES,
    ("command|getkeysandflags", "arguments"): "documented since 7.2",
    ("command|getkeysandflags", "arity"): _TAKES_NAMES,
    ("config|resetstat", "tips"): _ALL_NODES,
    ("config|rewrite", "tips"): _ALL_NODES,
    ("config|set", "arguments"): _RENAMED,
    ("debug", "arguments"): _WORDS,
    ("geohash", "arguments"): _MAY_BE_NONE,
    ("geopos", "arguments"): _MAY_BE_NONE,
    ("hscan", "arguments"): "NOVALUES came with 7.4",
    ("pfmerge", "arguments"): _MAY_BE_NONE,
    ("shutdown", "arguments"): _RENAMED,
    ("xadd", "arguments"): "references came with 8.2, idempotent producers with 8.6",
    ("xread", "arguments"): _LIMITED_READS,
    ("xreadgroup", "arguments"): f"{_LIMITED_READS}, CLAIM with 8.4",
    ("xtrim", "arguments"): "references came with 8.2",
    ("zrank", "arguments"): _WITHSCORE,
    ("zrank", "arity"): _WITHSCORE,
    ("zrevrank", "arguments"): _WITHSCORE,
    ("zrevrank", "arity"): _WITHSCORE,
}
# those that a real Redis has and we don't: the names, or (None) all of them
MISSING_SUBCOMMANDS: Final[dict[str, set[str] | None]] = {
    "cluster": None,  # one command refuses every subcommand
    "latency": {"latency|graph"},  # a drawing for people
}
_INFO_FIELDS: Final = ("arity", "flags", "first", "last", "step", "categories", "tips", "keys")
_DOCS_FIELDS: Final = (
    *("since", "group", "arguments", "doc_flags", "deprecated_since", "replaced_by"),
)


def ask(port: int, *argv: bytes) -> Any:
    """The RESP3 reply of a server, decoded."""
    reader = hiredis.Reader(encoding="utf-8")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for words in ((b"HELLO", b"3"), argv):
            client.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]
            while (reply := reader.gets()) is False:
                reader.feed(client.recv(1 << 16))
    return reply


def ask_us(*argv: bytes) -> Any:
    """The same of an engine in this process."""
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(ServerConsole(resp=3).execute(argv))
    return reader.gets()


def unordered(value: Any) -> Any:
    """A reply whose lists are compared without their order."""
    if isinstance(value, list):
        return sorted(map(unordered, value), key=repr)
    if isinstance(value, dict):
        return {name: unordered(item) for name, item in value.items()}
    return value


def info_facts(entries: list[Any]) -> dict[Fact, Any]:
    """COMMAND INFO, fact by fact. Key specs have an order, which arguments refer to."""
    facts: dict[Fact, Any] = {}
    for name, *fields, children in entries:
        for field, value in zip(_INFO_FIELDS, fields, strict=True):
            facts[name, field] = (
                [unordered(spec) for spec in value] if field == "keys" else unordered(value)
            )
        facts |= info_facts(children)
    return facts


def docs_facts(entries: dict[str, Any]) -> dict[Fact, Any]:
    """COMMAND DOCS, fact by fact; summaries and complexities are told in our own words."""
    facts: dict[Fact, Any] = {}
    for name, docs in entries.items():
        for field in _DOCS_FIELDS:
            facts[name, field] = _with_unordered_flags(docs.get(field))
        facts[name, "complexity"] = "complexity" in docs
        facts |= docs_facts(docs.get("subcommands", {}))
    return facts


def _with_unordered_flags(value: Any) -> Any:
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return sorted(value)
        return list(map(_with_unordered_flags, value))
    if isinstance(value, dict):
        return {name: _with_unordered_flags(item) for name, item in value.items()}
    return value


def histories(entries: dict[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    """Each command with its history."""
    for name, docs in entries.items():
        yield name, docs.get("history", [])
        yield from histories(docs.get("subcommands", {}))


def unexplained(ours: dict[Fact, Any], theirs: dict[Fact, Any]) -> dict[Fact, Any]:
    """What differs though nothing explains it."""
    return {
        fact: (ours[fact], theirs[fact])
        for fact in ours.keys() & theirs.keys() - EXPLAINED.keys()
        if ours[fact] != theirs[fact]
    }


@pytest.mark.e2e
def test_facts_are_those_of_a_real_redis(redis_server: ServerProcess) -> None:
    ours = info_facts(ask_us(b"COMMAND")) | docs_facts(ask_us(b"COMMAND", b"DOCS"))
    theirs = info_facts(ask(redis_server.port, b"COMMAND"))
    theirs |= docs_facts(ask(redis_server.port, b"COMMAND", b"DOCS"))
    assert len(ours.keys() & theirs.keys()) > 2000
    assert unexplained(ours, theirs) == {}
    stale = [fact for fact in EXPLAINED if ours[fact] == theirs[fact]]
    assert stale == [], "no difference any more"


@pytest.mark.e2e
def test_a_history_holds_all_that_a_real_redis_tells(redis_server: ServerProcess) -> None:
    ours = dict(histories(ask_us(b"COMMAND", b"DOCS")))
    theirs = dict(histories(ask(redis_server.port, b"COMMAND", b"DOCS")))
    missing = {
        name: [entry for entry in theirs[name] if entry not in ours[name]]
        for name in ours.keys() & theirs.keys()
    }
    assert {name: entries for name, entries in missing.items() if entries} == {}


@pytest.mark.e2e
def test_containers_have_the_subcommands_of_a_real_redis(redis_server: ServerProcess) -> None:
    ours = {entry[0]: {child[0] for child in entry[-1]} for entry in ask_us(b"COMMAND")}
    theirs = {
        entry[0]: {child[0] for child in entry[-1]} for entry in ask(redis_server.port, b"COMMAND")
    }
    missing = {name: theirs[name] - ours[name] for name in ours.keys() & theirs.keys()}
    expected = {
        name: theirs[name] if names is None else names
        for name, names in MISSING_SUBCOMMANDS.items()
    }
    assert {name: names for name, names in missing.items() if names} == expected
