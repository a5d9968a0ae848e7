"""The command table, built once from explicit specs and frozen.

    table["GET"], table["get"]  ──►  Command            what the dispatcher looks up first
    lookup("CLIENT")            ──►  Command ── subcommands["setname"] ──► Command

A command that has subcommands is left out of `table`, so that the dispatcher takes the path that
resolves them; `lookup` finds it.

Commands keep their counters; everything else here never changes. Contradictions among specs are
refused while building.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from hotplate.spec.check import SpecError, check_spec
from hotplate.spec.model import Command, CommandSpec, Flag

_ARITY_ENDLESS: Final = 2**31 - 1

# in the order in which COMMAND INFO and ACL CAT tell them; `kvc` and `limits` are ours
CATEGORIES: Final = (
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap"),
    *("hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking"),
    *("dangerous", "connection", "transaction", "scripting", "kvc", "limits"),
)
_IMPLIED_CATEGORIES: Final = (
    (Flag.WRITE, ("write",)),
    (Flag.READONLY, ("read",)),
    (Flag.ADMIN, ("admin", "dangerous")),
    (Flag.PUBSUB, ("pubsub",)),
    (Flag.FAST, ("fast",)),
    (Flag.BLOCKING, ("blocking",)),
)


def categories_of(spec: CommandSpec) -> tuple[str, ...]:
    """The ACL categories of a command: its own, and those that follow from its flags."""
    found = set(spec.acl_categories)
    if spec.group == "kvc":
        found.add("kvc")
    for flag, implied in _IMPLIED_CATEGORIES:
        if spec.flags & flag and not (flag is Flag.READONLY and "scripting" in found):
            found.update(implied)
    if "fast" not in found:
        found.add("slow")
    return tuple(category for category in CATEGORIES if category in found)


class Registry:
    """All commands. Made by `build`."""

    __slots__ = ("_by_name", "commands", "table")

    def __init__(self, commands: Mapping[bytes, Command]) -> None:
        self._by_name = dict(commands)
        self.commands: Mapping[bytes, Command] = MappingProxyType(self._by_name)
        self.table: dict[bytes, Command] = {}
        for name, command in commands.items():
            if command.subcommands is None:
                self.table[name] = command
                self.table[name.upper()] = command

    @classmethod
    def build(cls, specs: Iterable[CommandSpec]) -> "Registry":
        """Check `specs` and make the table; containers get the subcommands that name them."""
        all_specs = tuple(specs)
        containers = {spec.name.partition("|")[0] for spec in all_specs if "|" in spec.name}
        wrong = [
            message
            for spec in all_specs
            for message in check_spec(spec, is_container=spec.name in containers)
        ]
        commands: dict[bytes, Command] = {}
        children: list[CommandSpec] = []
        for spec in all_specs:
            if "|" in spec.name:
                children.append(spec)
            elif spec.name.lower().encode() in commands:
                wrong.append(f"{spec.name}: declared twice")
            else:
                commands[spec.name.lower().encode()] = _make(spec, spec.name in containers)
        for spec in children:
            wrong.extend(_adopt(commands, spec))
        for spec in all_specs:
            unknown = set(spec.acl_categories) - set(CATEGORIES)
            if unknown:
                wrong.append(f"{spec.name}: unknown ACL categories {sorted(unknown)}")
        if wrong:
            raise SpecError("\n".join(wrong))
        registry = cls(commands)
        for id_, command in enumerate(registry.walk()):
            command.id = id_
        return registry

    def lookup(self, name: bytes) -> Command | None:
        """The top-level command of that name in any case; None where there is none."""
        command = self.table.get(name)
        return command if command is not None else self._by_name.get(bytes(name).lower())

    def find(self, full_name: bytes) -> Command | None:
        """A command by its full name, `get` or `client|setname`, in any case."""
        container_name, bar, subcommand_name = full_name.lower().partition(b"|")
        command = self._by_name.get(container_name)
        if not bar or command is None:
            return command
        return (command.subcommands or {}).get(subcommand_name)

    def walk(self) -> Iterator[Command]:
        """All commands in order of declaration, each followed by its subcommands."""
        for command in self._by_name.values():
            yield command
            if command.subcommands is not None:
                yield from command.subcommands.values()

    def __len__(self) -> int:
        """How many top-level commands there are."""
        return len(self._by_name)


def _make(spec: CommandSpec, is_container: bool) -> Command:
    return Command(
        spec=spec,
        name=spec.name.lower().encode(),
        handler=spec.handler,
        arity_min=abs(spec.arity),
        # a container never runs itself: no number of arguments fits, so that the gates refuse it
        arity_max=0 if spec.handler is None else spec.arity if spec.arity > 0 else _ARITY_ENDLESS,
        flags=int(spec.flags),
        run=spec.run,
        measured_alone=spec.run is None and not spec.flags & Flag.FAST,
        subcommands={} if is_container else None,
    )


def _adopt(commands: Mapping[bytes, Command], spec: CommandSpec) -> Iterator[str]:
    container_name, _, subcommand_name = spec.name.lower().encode().partition(b"|")
    container = commands.get(container_name)
    if container is None or container.subcommands is None:
        yield f"{spec.name}: its container is not declared"
    elif subcommand_name in container.subcommands:
        yield f"{spec.name}: declared twice"
    else:
        container.subcommands[subcommand_name] = _make(spec, is_container=False)
