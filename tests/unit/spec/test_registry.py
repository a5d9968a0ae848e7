"""The command table is built from specs that do not contradict themselves."""

from typing import Any

import pytest

from hotplate.commands import build_registry
from hotplate.spec.check import SpecError
from hotplate.spec.docs import key_positions, legacy_range, syntax
from hotplate.spec.model import (
    CommandSpec,
    Flag,
    Keys,
    block,
    container,
    integer,
    key,
    oneof,
    string,
    token,
)
from hotplate.spec.registry import Registry, categories_of
from hotplate.spec.reply import OK_REPLY


def _handler(ctx: object, argv: list[bytes]) -> None:
    raise AssertionError


def spec(name: str = "FOO", **fields: Any) -> CommandSpec:
    facts: dict[str, Any] = {
        "handler": _handler,
        "group": "generic",
        "since": "1.0.0",
        "arity": 1,
        "summary": "Does.",
        "complexity": "O(1)",
        "reply": OK_REPLY,
    }
    return CommandSpec(name=name, **(facts | fields))


def test_names_are_found_in_any_case() -> None:
    registry = Registry.build([spec()])
    found = registry.lookup(b"FOO")
    assert found is not None
    assert registry.lookup(b"foo") is registry.lookup(b"fOo") is found
    assert registry.table[b"FOO"] is registry.table[b"foo"] is found
    assert registry.lookup(b"bar") is None


def test_subcommands_belong_to_their_container() -> None:
    holder = container("BOX", group="generic", since="1.0.0", summary="Holds.", complexity="")
    registry = Registry.build([spec("BOX|IN", arity=2), holder])
    box = registry.lookup(b"box")
    assert box is not None
    assert box.subcommands is not None
    assert list(box.subcommands) == [b"in"]
    assert registry.find(b"Box|IN") is box.subcommands[b"in"]
    assert registry.find(b"box|out") is None


def test_a_command_with_subcommands_of_its_own_is_looked_up_the_long_way() -> None:
    registry = Registry.build([spec(arity=-1), spec("FOO|BAR", arity=2)])
    assert b"FOO" not in registry.table
    assert registry.lookup(b"FOO") is not None


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([spec(), spec()], "FOO: declared twice"),
        ([spec("BOX|IN", arity=2)], "its container is not declared"),
        ([spec(args=(key(),), arity=2)], "points at key spec 0, which is not there"),
        ([spec(keys=(Keys(),))], "no argument uses key spec"),
        ([spec(args=(string("a"),))], "arity 1, but its arguments say 2"),
        ([spec(args=(string("a", optional=True),))], "arity 1, but its arguments say 1 or more"),
        ([spec(args=(string("a"),), arity=-1)], "arity -1, but its arguments say 2 are needed"),
        ([spec(args=(string("a"),), arity=-3)], "arity -3, but its arguments say 2 are enough"),
        ([spec(handler=None)], "neither a handler nor subcommands"),
        ([spec(reply=None)], "no reply schema"),
        ([spec(flags=Flag.WRITE | Flag.READONLY)], "both WRITE and READONLY"),
        ([spec(acl_categories=("nope",))], "unknown ACL categories"),
        ([spec(keys=(Keys(flags=("ACCESS",)),), args=(key(),), arity=2)], "names one of"),
        ([spec("foo")], "a name is upper case"),
    ],
)
def test_contradictions_are_refused(specs: list[CommandSpec], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Registry.build(specs)


def test_categories_follow_from_flags() -> None:
    assert categories_of(spec(flags=Flag.WRITE | Flag.FAST)) == ("write", "fast")
    assert categories_of(spec(flags=Flag.ADMIN)) == ("admin", "slow", "dangerous")
    assert categories_of(spec(group="kvc", flags=Flag.READONLY)) == ("read", "slow", "kvc")


def test_all_our_specs_agree_with_themselves() -> None:
    registry = build_registry()
    assert {b"get", b"client", b"command", b"kvc.getloc", b"multi"} <= set(registry.commands)
    ids = [command.id for command in registry.walk()]
    assert ids == list(range(len(ids)))


def test_keys_are_found_by_position_keyword_and_count() -> None:
    plain = spec(keys=(Keys(1, last=-1, step=2),))
    assert [at for at, _ in key_positions(plain, [b"MSET", b"a", b"1", b"b", b"2"])] == [1, 3]
    counted = spec(keys=(Keys(1, key_number=0),))
    assert [at for at, _ in key_positions(counted, [b"X", b"2", b"a", b"b", b"c"])] == [2, 3]
    after = spec(keys=(Keys(keyword="STREAMS", start_from=1, last=-1, limit=2),))
    argv = [b"XREAD", b"COUNT", b"1", b"streams", b"a", b"b", b"0", b"0"]
    assert [at for at, _ in key_positions(after, argv)] == [4, 5]
    assert key_positions(after, [b"XREAD", b"COUNT", b"1"]) == []


def test_adjacent_key_specs_make_one_range() -> None:
    assert legacy_range((Keys(1), Keys(2))) == (1, 2, 1)
    assert legacy_range((Keys(1, last=-1, step=2),)) == (1, -1, 2)
    assert legacy_range((Keys(keyword="STREAMS"),)) == (0, 0, 0)
    assert legacy_range(()) == (0, 0, 0)


def test_the_syntax_reads_like_redis_manual() -> None:
    full = spec(
        "BOX|PUT",
        args=(
            key(),
            oneof("how", token("NX"), token("XX"), optional=True),
            block("pair", string("field"), integer("value"), multiple=True),
            integer("n", token="COUNT", optional=True),
            string("s", token="SPEC", multiple=True, multiple_token=True),
        ),
    )
    assert syntax(full) == (
        "BOX PUT key [NX | XX] field value [field value ...] [COUNT n] SPEC s [SPEC s ...]"
    )
