"""How a command is declared: the spec is the only truth about it.

A handler carries its spec (`@command(...)`). From the specs come COMMAND INFO/DOCS/GETKEYS/LIST,
ACL categories, arity errors, what is allowed in MULTI and scripts, key extraction, docs/commands.md
and the clients' command table. Field names follow Redis' own command files.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntFlag, auto
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from hotplate.spec.reply import ReplySchema

Handler: TypeAlias = Callable[..., Any]  # (ctx: Context, argv: list[bytes]) -> Reply
HandlerType = TypeVar("HandlerType", bound=Handler)


class Flag(IntFlag):
    """Command flags, as Redis names them."""

    NONE = 0
    WRITE = auto()
    READONLY = auto()
    DENYOOM = auto()
    ADMIN = auto()
    PUBSUB = auto()
    NOSCRIPT = auto()
    BLOCKING = auto()
    LOADING = auto()
    STALE = auto()
    SKIP_MONITOR = auto()
    SKIP_SLOWLOG = auto()
    FAST = auto()
    NO_AUTH = auto()
    MAY_REPLICATE = auto()  # stopped by CLIENT PAUSE WRITE, too; COMMAND INFO does not tell it
    NO_MULTI = auto()
    MOVABLEKEYS = auto()
    ALLOW_BUSY = auto()
    NO_MANDATORY_KEYS = auto()
    NO_ASYNC_LOADING = auto()


@dataclass(frozen=True, slots=True)
class Keys:
    """A key spec: where keys stand in argv, and what the command does to them.

    `begin` is a position, or `keyword` is searched from `start_from` (negative: from the end).
    Then either a range (`last`, `step`, `limit`, relative to the begin as in Redis) or, with
    `key_number`, a count at begin + key_number, keys from begin + `first`. `unknown`: no rule says
    where (SORT); the spec's `get_keys` does for as many as it can.
    """

    begin: int = 1
    last: int = 0
    step: int = 1
    limit: int = 0
    keyword: str | None = None
    start_from: int = 0
    key_number: int | None = None
    first: int = 1
    unknown: bool = False
    flags: tuple[str, ...] = ("RO", "ACCESS")
    notes: str | None = None


ArgType = Literal[
    "string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """One argument of the syntax, as COMMAND DOCS describes it."""

    name: str
    type: ArgType
    token: str | None = None
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    key_spec_index: int | None = None
    since: str | None = None
    deprecated_since: str | None = None
    args: tuple["Arg", ...] = ()


def key(name: str = "key", *, index: int = 0, **more: Any) -> Arg:
    """A key, named by key spec `index`."""
    return Arg(name=name, type="key", key_spec_index=index, **more)


def string(name: str, **more: Any) -> Arg:
    """Any bytes."""
    return Arg(name=name, type="string", **more)


def integer(name: str, **more: Any) -> Arg:
    """A whole number."""
    return Arg(name=name, type="integer", **more)


def double(name: str, **more: Any) -> Arg:
    """A floating-point number."""
    return Arg(name=name, type="double", **more)


def pattern(name: str = "pattern", **more: Any) -> Arg:
    """A glob."""
    return Arg(name=name, type="pattern", **more)


def unix_time(name: str, **more: Any) -> Arg:
    """A point in time."""
    return Arg(name=name, type="unix-time", **more)


def token(word: str, name: str | None = None, **more: Any) -> Arg:
    """A word that stands for itself."""
    return Arg(name=name or word.lower(), type="pure-token", token=word, **more)


def oneof(name: str, *args: Arg, **more: Any) -> Arg:
    """Exactly one of `args`."""
    return Arg(name=name, type="oneof", args=args, **more)


def block(name: str, *args: Arg, **more: Any) -> Arg:
    """All of `args`, in order."""
    return Arg(name=name, type="block", args=args, **more)


class PayloadTarget(Protocol):
    """Where one large bulk string is received: `view` is filled by the connection, front to back.

    After the last byte the object itself stands in argv at the payload's place (`len()` is its
    size, `bytes(target.view)` its content). `abandon` is called instead when the client goes away
    or the frame turns out bad before the command ran.
    """

    view: memoryview

    def __len__(self) -> int: ...
    def arrived(self, filled: int) -> None: ...  # the first `filled` bytes are there
    def abandon(self) -> None: ...


PayloadSink: TypeAlias = Callable[[Any, list[Any], int], PayloadTarget | None]
"""(ctx, argv so far, size) -> target, or None: receive into ordinary bytes. Never raises."""


RunHandler: TypeAlias = Callable[[Any, list[Any], int, Callable[[Any], object]], int]
"""(ctx, requests, start, append) -> the index after the last request it took.

Takes consecutive requests of the same name as its own, as long as they are plain, and appends
ready frames. It may take none. Only for commands that no gate and no other client's work concerns
between two requests.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """Everything known about one command or subcommand."""

    name: str  # "GET", or "CLIENT|SETNAME" for a subcommand
    handler: Handler | None  # None: a container that answers only through its subcommands
    group: str
    since: str
    arity: int  # as Redis: counts the name; negative: at least
    summary: str
    complexity: str
    flags: Flag = Flag.NONE
    keys: tuple[Keys, ...] = ()
    args: tuple[Arg, ...] = ()
    reply: ReplySchema | None = None
    acl_categories: tuple[str, ...] = ()  # beyond those that follow from the flags
    tips: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    deprecated_since: str | None = None
    replaced_by: str | None = None
    is_internal: bool = False  # not for clients in general: `syscmd` in COMMAND DOCS
    get_keys: Callable[[list[bytes]], list[int]] | None = None  # positions, where specs can't say
    sink: PayloadSink | None = None
    run: RunHandler | None = None


@dataclass(slots=True)
class Command:
    """A command at work: its spec, what the dispatcher needs of it at hand, and its counters."""

    spec: CommandSpec
    name: bytes  # lower case, "get" or "client|setname"
    handler: Handler | None
    arity_min: int
    arity_max: int
    flags: int
    run: RunHandler | None = None
    measured_alone: bool = False  # its time is not shared by a run of equal commands
    subcommands: dict[bytes, "Command"] | None = None
    calls: int = 0
    time_ns: int = 0
    rejected: int = 0
    failed: int = 0
    id: int = field(default=0)


def command(name: str, **fields: Any) -> Callable[[HandlerType], HandlerType]:
    """Declare a handler's command; `fields` are those of CommandSpec. Registers nothing."""

    def declare(handler: HandlerType) -> HandlerType:
        spec = CommandSpec(name=name, handler=handler, **fields)
        specs: list[CommandSpec] = getattr(handler, "specs", [])
        specs.append(spec)
        handler.specs = specs  # type: ignore[attr-defined]  # functions take attributes
        return handler

    return declare


def container(name: str, **fields: Any) -> CommandSpec:
    """A command that answers only through its subcommands (CLIENT, CONFIG, KVC.GROUP ...)."""
    fields.setdefault("arity", -2)
    return CommandSpec(name=name, handler=None, **fields)


def specs_of(*items: Handler | CommandSpec) -> tuple[CommandSpec, ...]:
    """What a command module offers: the specs of its handlers, and its containers, in order."""
    specs: list[CommandSpec] = []
    for item in items:
        if isinstance(item, CommandSpec):
            specs.append(item)
        else:
            specs.extend(getattr(item, "specs"))  # noqa: B009  # what `command` left there
    return tuple(specs)
