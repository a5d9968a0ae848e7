"""Consistency of the command specs, checked while the registry is built.

A spec that contradicts itself stops the server at start (and every test): COMMAND DOCS, key
extraction and arity errors all come from it. Each check yields what is wrong, with the name.
"""

from collections.abc import Iterator, Sequence

from hotplate.spec.model import Arg, CommandSpec, Flag

KEY_FLAGS = frozenset(
    (
        *("RO", "RW", "OW", "RM", "ACCESS", "UPDATE", "INSERT", "DELETE"),
        *("NOT_KEY", "INCOMPLETE", "VARIABLE_FLAGS"),
    )
)
_OPERATIONS = frozenset(("RO", "RW", "OW", "RM"))


class SpecError(Exception):
    """Specs that contradict themselves or each other: a bug of ours."""


def check_spec(spec: CommandSpec, *, is_container: bool) -> Iterator[str]:
    """What is wrong with one spec."""
    if spec.name != spec.name.upper() or " " in spec.name or not spec.name:
        yield f"{spec.name!r}: a name is upper case, a subcommand is CONTAINER|NAME"
    if not spec.summary.strip() or not spec.since or not spec.group:
        yield f"{spec.name}: summary, group and since are needed"
    if spec.arity == 0:
        yield f"{spec.name}: the arity counts the name"
    if spec.flags & Flag.WRITE and spec.flags & Flag.READONLY:
        yield f"{spec.name}: both WRITE and READONLY"
    if spec.handler is None and not is_container:
        yield f"{spec.name}: has neither a handler nor subcommands"
    if spec.handler is not None and spec.reply is None:
        yield f"{spec.name}: no reply schema"
    yield from _check_keys(spec)
    if not is_container:
        yield from _check_arity(spec)


def _check_keys(spec: CommandSpec) -> Iterator[str]:
    for keys in spec.keys:
        unknown = set(keys.flags) - KEY_FLAGS
        if unknown:
            yield f"{spec.name}: unknown key flags {sorted(unknown)}"
        operations = len(_OPERATIONS & set(keys.flags))
        if operations != 1 and not ("NOT_KEY" in keys.flags and operations == 0):
            yield f"{spec.name}: a key spec names one of {sorted(_OPERATIONS)}"
    used: set[int] = set()
    for arg in walk(spec.args):
        if arg.type != "key":
            continue
        index = arg.key_spec_index
        if index is None or not 0 <= index < len(spec.keys):
            yield f"{spec.name}: argument {arg.name} points at key spec {index}, which is not there"
        else:
            used.add(index)
    described = any("INCOMPLETE" in keys.flags or keys.unknown for keys in spec.keys)
    real = {index for index, keys in enumerate(spec.keys) if "NOT_KEY" not in keys.flags}
    unused = real - used
    if unused and not described:
        yield f"{spec.name}: no argument uses key spec {sorted(unused)}"


def _check_arity(spec: CommandSpec) -> Iterator[str]:
    """The fewest arguments the syntax allows, and whether more can follow, give the arity."""
    name_words = spec.name.count("|") + 1
    least = name_words + sum(_least(arg) for arg in spec.args)
    open_ended = any(_varies(arg) for arg in spec.args)
    if spec.arity > 0 and (open_ended or least != spec.arity):
        yield f"{spec.name}: arity {spec.arity}, but its arguments say {least} or more"
    if spec.arity < 0 and least < -spec.arity and not _needs_an_option(spec):
        yield f"{spec.name}: arity {spec.arity}, but its arguments say {least} are enough"
    if spec.arity < 0 and least > -spec.arity and spec.args:
        yield f"{spec.name}: arity {spec.arity}, but its arguments say {least} are needed"


def _needs_an_option(spec: CommandSpec) -> bool:
    # Redis' own arity counts one of several optional arguments as needed for some commands
    return any(arg.optional for arg in walk(spec.args))


def _least(arg: Arg) -> int:
    if arg.optional:
        return 0
    own = 1 if arg.token is not None and arg.type != "pure-token" else 0
    if arg.type == "oneof":
        return own + min(_least(option) for option in arg.args)
    if arg.type == "block":
        return own + sum(_least(part) for part in arg.args)
    return own + 1


def _varies(arg: Arg) -> bool:
    if arg.optional or arg.multiple:
        return True
    if arg.type == "oneof":
        return len({_least(option) for option in arg.args}) > 1 or any(map(_varies, arg.args))
    return any(map(_varies, arg.args))


def walk(args: Sequence[Arg]) -> Iterator[Arg]:
    """All arguments, nested ones included, in order."""
    for arg in args:
        yield arg
        yield from walk(arg.args)
