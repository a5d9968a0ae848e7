"""What the specs say about commands: COMMAND INFO and DOCS, keys of a call, syntax, Markdown.

Pure functions over specs; the shapes are those of redis-server 7.0 in both protocols.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hotplate.errors import CommandError
from hotplate.resp.types import Map, Reply, Set, Simple
from hotplate.spec.model import Arg, Command, CommandSpec, Flag, Keys
from hotplate.spec.registry import categories_of

_FLAG_ORDER: Final = (
    *(Flag.WRITE, Flag.READONLY, Flag.DENYOOM, Flag.ADMIN, Flag.PUBSUB, Flag.NOSCRIPT),
    *(Flag.BLOCKING, Flag.LOADING, Flag.STALE, Flag.SKIP_MONITOR, Flag.SKIP_SLOWLOG, Flag.FAST),
    *(Flag.NO_AUTH, Flag.NO_MANDATORY_KEYS, Flag.NO_ASYNC_LOADING),
    *(Flag.NO_MULTI, Flag.MOVABLEKEYS, Flag.ALLOW_BUSY),
)
_UPPER_KEY_FLAGS: Final = ("RO", "RW", "OW", "RM")
_KEY_FLAG_ORDER: Final = (
    *(*_UPPER_KEY_FLAGS, "ACCESS", "UPDATE", "INSERT", "DELETE"),
    *("NOT_KEY", "INCOMPLETE", "VARIABLE_FLAGS"),
)


# -- COMMAND INFO ------------------------------------------------------------------------------


def command_info(command: Command) -> Reply:
    """One command as COMMAND INFO tells it, its subcommands inside."""
    spec = command.spec
    first, last, step = legacy_range(spec.keys)
    children = (command.subcommands or {}).values()
    return [
        command.name,
        spec.arity,
        Set(_flag_names(spec)),
        first,
        last,
        step,
        Set(Simple(b"@" + name.encode()) for name in categories_of(spec)),
        Set(tip.encode() for tip in spec.tips),
        Set(_key_spec(keys) for keys in spec.keys),
        [command_info(child) for child in children] if children else Set(),
    ]


def _flag_names(spec: CommandSpec) -> list[Simple]:
    flags = spec.flags | (Flag.MOVABLEKEYS if has_movable_keys(spec) else Flag.NONE)
    return [Simple(str(flag.name).lower().encode()) for flag in _FLAG_ORDER if flags & flag]


def has_movable_keys(spec: CommandSpec) -> bool:
    """Whether the positions of keys depend on the arguments."""
    return spec.get_keys is not None or any(not _is_plain_range(keys) for keys in spec.keys)


def _is_plain_range(keys: Keys) -> bool:
    return keys.keyword is None and keys.key_number is None and not keys.unknown


def legacy_range(key_specs: Sequence[Keys]) -> tuple[int, int, int]:
    """First key, last key and step, as far as one range can say it; zeros where none can."""
    if len(key_specs) == 1 and _is_plain_range(key_specs[0]):
        keys = key_specs[0]
        return keys.begin, keys.last if keys.last < 0 else keys.begin + keys.last, keys.step
    first = last = previous = 0
    for keys in key_specs:
        if not _is_plain_range(keys):
            continue
        if keys.step != 1 or (previous and previous != keys.begin - 1):
            break
        first = first or keys.begin
        previous = keys.last if keys.last < 0 else keys.begin + keys.last
        last = previous
    return first, last, 1 if first else 0


def _key_spec(keys: Keys) -> Map:
    out = Map()
    if keys.notes is not None:
        out[b"notes"] = keys.notes.encode()
    out[b"flags"] = Set(Simple(name) for name in key_flag_names(keys))
    if keys.unknown:
        out[b"begin_search"] = Map({b"type": b"unknown", b"spec": Map()})
        out[b"find_keys"] = Map({b"type": b"unknown", b"spec": Map()})
        return out
    if keys.keyword is None:
        begin = Map({b"type": b"index", b"spec": Map({b"index": keys.begin})})
    else:
        words = Map({b"keyword": keys.keyword.encode(), b"startfrom": keys.start_from})
        begin = Map({b"type": b"keyword", b"spec": words})
    out[b"begin_search"] = begin
    if keys.key_number is None:
        span = Map({b"lastkey": keys.last, b"keystep": keys.step, b"limit": keys.limit})
        out[b"find_keys"] = Map({b"type": b"range", b"spec": span})
    else:
        count = Map({b"keynumidx": keys.key_number, b"firstkey": keys.first, b"keystep": keys.step})
        out[b"find_keys"] = Map({b"type": b"keynum", b"spec": count})
    return out


def key_flag_names(keys: Keys) -> list[bytes]:
    """The flags of a key spec, in Redis' order and spelling."""
    return [
        (name if name in _UPPER_KEY_FLAGS else name.lower()).encode()
        for name in _KEY_FLAG_ORDER
        if name in keys.flags
    ]


# -- COMMAND DOCS ------------------------------------------------------------------------------


def command_docs(command: Command) -> Map:
    """One command as COMMAND DOCS tells it, its subcommands inside."""
    spec = command.spec
    out = Map(
        {
            b"summary": spec.summary.encode(),
            b"since": spec.since.encode(),
            b"group": spec.group.encode(),
        }
    )
    if spec.complexity:
        out[b"complexity"] = spec.complexity.encode()
    if spec.is_internal:
        out[b"doc_flags"] = Set([Simple(b"syscmd")])
    if spec.deprecated_since is not None:
        out[b"doc_flags"] = Set([Simple(b"deprecated")])
        out[b"deprecated_since"] = spec.deprecated_since.encode()
    if spec.replaced_by is not None:
        out[b"replaced_by"] = spec.replaced_by.encode()
    if spec.history:
        out[b"history"] = Set([since.encode(), text.encode()] for since, text in spec.history)
    if spec.args:
        out[b"arguments"] = [_argument(arg) for arg in spec.args]
    if command.subcommands:
        out[b"subcommands"] = Map(
            {child.name: command_docs(child) for child in command.subcommands.values()}
        )
    return out


def _argument(arg: Arg) -> Map:
    out = Map({b"name": arg.name.encode(), b"type": arg.type.encode()})
    if arg.key_spec_index is not None:
        out[b"key_spec_index"] = arg.key_spec_index
    if arg.token is not None:
        out[b"token"] = arg.token.encode()
    if arg.since is not None:
        out[b"since"] = arg.since.encode()
    if arg.deprecated_since is not None:
        out[b"deprecated_since"] = arg.deprecated_since.encode()
    flags = [
        Simple(name)
        for name, on in (
            (b"optional", arg.optional),
            (b"multiple", arg.multiple),
            (b"multiple_token", arg.multiple_token),
        )
        if on
    ]
    if flags:
        out[b"flags"] = Set(flags)
    if arg.args:
        out[b"arguments"] = [_argument(part) for part in arg.args]
    return out


# -- keys of a call ----------------------------------------------------------------------------


def key_positions(spec: CommandSpec, argv: Sequence[bytes]) -> list[tuple[int, Keys]]:
    """Where the keys of a call stand, each with the key spec that found it.

    Names that are no keys of the keyspace (NOT_KEY) are left out. CommandError where the
    arguments make no sense for the command.
    """
    found: list[tuple[int, Keys]] = []
    for keys in spec.keys:
        if not (keys.unknown or {"NOT_KEY", "INCOMPLETE"} & set(keys.flags)):
            found.extend((position, keys) for position in _positions(keys, argv))
    if spec.get_keys is not None and spec.keys:
        keys = spec.keys[-1] if spec.keys[-1].unknown else spec.keys[0]
        found.extend((position, keys) for position in spec.get_keys(list(argv)))
    return found


def _positions(keys: Keys, argv: Sequence[bytes]) -> Sequence[int]:
    begin = _begin(keys, argv)
    if begin is None:
        return ()
    if keys.key_number is not None:
        count_at = begin + keys.key_number
        if count_at >= len(argv) or not argv[count_at].isdigit():
            raise _invalid_arguments()
        first = begin + keys.first
        last = first + (int(argv[count_at]) - 1) * keys.step
    else:
        first = begin
        last = begin + keys.last
        if keys.last < 0:
            rest = len(argv) - begin
            last = begin + (rest // keys.limit if keys.limit > 1 else rest) + keys.last
    if last >= len(argv):
        raise _invalid_arguments()
    return range(first, last + 1, keys.step)


def _begin(keys: Keys, argv: Sequence[bytes]) -> int | None:
    if keys.keyword is None:
        return keys.begin
    word = keys.keyword.encode().upper()
    if keys.start_from >= 0:
        places = range(keys.start_from, len(argv) - 1)
    else:
        places = range(len(argv) + keys.start_from, 0, -1)
    return next((at + 1 for at in places if argv[at].upper() == word), None)


def _invalid_arguments() -> CommandError:
    return CommandError("Invalid arguments specified for command")


# -- text --------------------------------------------------------------------------------------


def syntax(spec: CommandSpec) -> str:
    """The command line that the arguments describe."""
    return " ".join([spec.name.replace("|", " "), *map(_syntax_of, spec.args)])


def _syntax_of(arg: Arg) -> str:
    if arg.type == "pure-token":
        text = arg.token or arg.name
    elif arg.type == "oneof":
        text = " | ".join(map(_syntax_of, arg.args))
        text = text if arg.optional and arg.token is None else f"<{text}>"
    elif arg.type == "block":
        text = " ".join(map(_syntax_of, arg.args))
    else:
        text = arg.name
    if arg.token is not None and arg.type != "pure-token":
        text = f"{arg.token} {text}" if arg.token else f'"" {text}'
    if arg.multiple:
        repeated = text if arg.multiple_token or arg.token is None else text.split(" ", 1)[1]
        text = f"{text} ..." if arg.type == "oneof" else f"{text} [{repeated} ...]"
    return f"[{text}]" if arg.optional else text


def commands_markdown(commands: Iterable[Command]) -> str:
    """docs/commands.md: every command by group, with its syntax."""
    groups: dict[str, list[CommandSpec]] = {}
    for command in commands:
        if command.handler is not None:  # a container's subcommands say it all
            groups.setdefault(command.spec.group, []).append(command.spec)
    lines = [
        "# Commands",
        "",
        "Written by `python -m tests.tools.generate_documents` from the commands' declarations.",
        "`COMMAND DOCS` of a running server tells the same.",
    ]
    for group in sorted(groups):
        lines += ["", f"## {group.replace('_', ' ').capitalize()}", ""]
        lines += ["| command | since | what it does |", "|---|---|---|"]
        for spec in sorted(groups[group], key=lambda spec: spec.name):
            shown = syntax(spec).replace("|", "\\|")
            summary = spec.summary.rstrip(".").replace("|", "\\|")
            lines.append(f"| `{shown}` | {spec.since} | {summary}. {_remark(spec)} |")
    return "\n".join(lines) + "\n"


def _remark(spec: CommandSpec) -> str:
    if spec.deprecated_since is not None:
        return f"Deprecated since {spec.deprecated_since}: use {spec.replaced_by}."
    return spec.complexity.rstrip(".").replace("|", "\\|") + "." if spec.complexity else ""


def settings_markdown(rows: Mapping[str, Sequence[tuple[str, str, str, str]]]) -> str:
    """docs/configuration.md: sections of (name, default, type, what it does)."""
    lines = [
        "# Configuration",
        "",
        "Settings are given in a file with the syntax of redis.conf, on the command line",
        "(`hotplate serve my.conf --port 7000 --maxclients 500`, which wins), or, where marked",
        "with *, while the server runs with `CONFIG SET`. `CONFIG REWRITE` writes them back into",
        "the file and keeps its comments. Sizes take units: `1kb` is 1024 bytes, `1k` is 1000.",
        "",
        "Written by `python -m tests.tools.generate_documents` from the settings' declarations.",
    ]
    for title, settings in rows.items():
        lines += ["", f"## {title}", "", "| setting | default | values | what it does |"]
        lines.append("|---|---|---|---|")
        for name, default, kind, doc in settings:
            shown = f"`{default}`" if default else "empty"
            lines.append(f"| `{name}` | {shown} | {kind} | {doc} |")
    return "\n".join(lines) + "\n"
