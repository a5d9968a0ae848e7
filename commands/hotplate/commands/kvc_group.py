"""KVC.GROUP: who may use how much of which storages.

Handlers parse and validate everything, let the catalog check the rules between records, and only
then change something and tell the cache.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.kvc_arguments import (
    HELP_REPLY,
    SINCE,
    cache_of,
    help_reply,
    take_names,
    take_size,
    take_size_or_none,
    take_text,
)
from hotplate.errors import CommandError
from hotplate.kvc.policy import POLICIES
from hotplate.resp.types import OK, Double, Map, Reply
from hotplate.spec.args import Args
from hotplate.spec.model import (
    Arg,
    Flag,
    block,
    command,
    container,
    double,
    integer,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import OK_REPLY, AnyReply, ArrayReply, BulkReply, IntegerReply, MapReply

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_GROUP_CHANGE: Final = {
    "group": "kvc",
    "since": SINCE,
    "flags": Flag.WRITE | Flag.ADMIN,
    "complexity": "O(1)",
}
_SHOW: Final = {"group": "kvc", "since": SINCE, "flags": Flag.READONLY, "complexity": "O(1)"}
_NAMES_REPLY: Final = ArrayReply(BulkReply())
_NAME: Final = string("name")
_FORCE: Final = token("FORCE", optional=True)

# Options of a group: each parser returns the fields of Group that it sets.


def _storages(args: Args, _given: dict[str, Any]) -> dict[str, Any]:
    return {"storages": tuple(take_names(args, "STORAGES"))}


def _type_quota(args: Args, given: dict[str, Any]) -> dict[str, Any]:
    kind = take_text(args, "TYPEQUOTA").lower()
    quotas = dict(given.get("type_quotas", {}))
    if kind in quotas:
        raise CommandError(f"TYPEQUOTA {kind} is given twice")
    quotas[kind] = take_size_or_none(args, "TYPEQUOTA")
    return {"type_quotas": quotas}


def _watermarks(args: Args, _given: dict[str, Any]) -> dict[str, Any]:
    return {"high_watermark": args.take_float(), "low_watermark": args.take_float()}


def _prefer(args: Args, _given: dict[str, Any]) -> dict[str, Any]:
    return {"prefer_type": _storage_type(args, "PREFER"), "always_type": None}


def _always(args: Args, _given: dict[str, Any]) -> dict[str, Any]:
    return {"always_type": _storage_type(args, "ALWAYS"), "prefer_type": None}


def _storage_type(args: Args, what: str) -> str | None:
    kind = take_text(args, what).lower()
    return None if kind == "none" else kind


def _limit(field: str, word: str, minimum: int = 0) -> Callable[..., dict[str, Any]]:
    return lambda args, _given: {field: take_size_or_none(args, word, minimum)}


_GROUP_OPTIONS: Final[dict[bytes, Callable[[Args, dict[str, Any]], dict[str, Any]]]] = {
    b"STORAGES": _storages,
    b"QUOTA": _limit("quota_bytes", "QUOTA"),
    b"TYPEQUOTA": _type_quota,
    b"WATERMARKS": _watermarks,
    b"POLICY": lambda args, _: {"policy": take_text(args, "POLICY").lower()},
    b"TTL": _limit("ttl_s", "TTL", 1),
    b"GRACE": lambda args, _: {"grace_ms": take_size(args, "GRACE")},
    b"RETAIN": lambda args, _: {"retain_fraction": args.take_float()},
    b"PREFER": _prefer,
    b"ALWAYS": _always,
    b"TIERING": lambda args, _: {"tiering": take_text(args, "TIERING").lower()},
    b"MAXBLOCKS": _limit("max_blocks", "MAXBLOCKS"),
    b"MAXINSTANCES": _limit("max_instances", "MAXINSTANCES"),
    b"MAXSESSIONS": _limit("max_sessions", "MAXSESSIONS"),
    b"MAP": lambda args, _: {"map_allowed": args.take_bool("MAP")},
    b"USERDATA": lambda args, _: {"userdata": args.take()},
}
_REPEATED: Final = frozenset([b"TYPEQUOTA"])
_EXCLUSIVE: Final = {b"PREFER": b"ALWAYS", b"ALWAYS": b"PREFER"}


def _take_group_options(args: Args, type_quotas: dict[str, int]) -> dict[str, Any]:
    """Fields of Group from the rest of the arguments; TYPEQUOTAs are laid over `type_quotas`."""
    given: dict[str, Any] = {}
    seen: set[bytes] = set()
    while args:
        word = args.take_word()
        parse = _GROUP_OPTIONS.get(word)
        if parse is None:
            raise CommandError(b"unknown group option '%b'" % word[:128])
        if word in seen and word not in _REPEATED:
            raise CommandError(b"%b is given twice" % word)
        if _EXCLUSIVE.get(word) in seen:
            raise CommandError("PREFER and ALWAYS exclude each other")
        seen.add(word)
        given.update(parse(args, given))
    if "type_quotas" in given:
        merged = {**type_quotas, **given["type_quotas"]}
        given["type_quotas"] = {kind: size for kind, size in merged.items() if size is not None}
    return given


def _one_of_types(name: str) -> Arg:
    kinds = (token("MEMORY"), token("SSD"), token("NONE"))
    return oneof(name.lower(), *kinds, token=name, optional=True)


_OPTION_ARGS: Final = (
    block(
        "storages",
        integer("count", token="STORAGES"),
        string("storage", multiple=True),
        optional=True,
    ),
    integer("quota-bytes", token="QUOTA", optional=True),
    block(
        "type-quota",
        string("type", token="TYPEQUOTA"),
        integer("bytes"),
        optional=True,
        multiple=True,
    ),
    block("watermarks", double("high", token="WATERMARKS"), double("low"), optional=True),
    oneof("policy", *[token(name.upper()) for name in POLICIES], token="POLICY", optional=True),
    integer("ttl-seconds", token="TTL", optional=True),
    integer("grace-ms", token="GRACE", optional=True),
    double("retain-fraction", token="RETAIN", optional=True),
    _one_of_types("PREFER"),
    _one_of_types("ALWAYS"),
    oneof(
        "tiering",
        token("NONE"),
        token("EXCLUSIVE"),
        token("INCLUSIVE"),
        token="TIERING",
        optional=True,
    ),
    integer("max-blocks", token="MAXBLOCKS", optional=True),
    integer("max-instances", token="MAXINSTANCES", optional=True),
    integer("max-sessions", token="MAXSESSIONS", optional=True),
    oneof("map", token("0", "forbidden"), token("1", "allowed"), token="MAP", optional=True),
    string("userdata", token="USERDATA", optional=True),
)

GROUP: Final = container(
    "KVC.GROUP",
    group="kvc",
    since=SINCE,
    summary="A container for commands about the groups of the KV cache.",
    complexity="Depends on subcommand.",
)
_GROUP_HELP: Final = (
    "CREATE <name> [STORAGES <n> <storage> ...] [QUOTA <bytes>] [WATERMARKS <high> <low>] [...]",
    "    Create a group.",
    "UPDATE <name> VERSION <current> <option> ...",
    "    Change options of a group if its version is the current one.",
    "REMOVE <name> [FORCE]",
    "    Remove a group without instances; FORCE removes its instances and their blocks.",
    "LIST",
    "    Names of all groups.",
    "INFO <name>",
    "    What is known about a group.",
)


@command(
    "KVC.GROUP|HELP",
    summary="Returns help about the subcommands.",
    arity=2,
    reply=HELP_REPLY,
    **_SHOW,
)
def kvc_group_help(_ctx: "Context", _argv: list[bytes]) -> Reply:
    """The subcommands, in words."""
    return help_reply("KVC.GROUP", _GROUP_HELP)


@command(
    "KVC.GROUP|CREATE",
    summary="Creates a group.",
    arity=-3,
    args=(_NAME, *_OPTION_ARGS),
    reply=IntegerReply(1, 1),
    **_GROUP_CHANGE,
)
def kvc_group_create(ctx: "Context", argv: list[bytes]) -> Reply:
    """Answers the version of the new group."""
    cache = cache_of(ctx)
    args = Args(argv, 2)
    name = take_text(args, "group name")
    group = cache.catalog.create_group(name, _take_group_options(args, {}))
    cache.group_changed(group)
    return group.version


@command(
    "KVC.GROUP|UPDATE",
    summary="Changes options of a group.",
    arity=-7,
    args=(_NAME, integer("version", token="VERSION"), *_OPTION_ARGS),
    reply=IntegerReply(2),
    **_GROUP_CHANGE,
)
def kvc_group_update(ctx: "Context", argv: list[bytes]) -> Reply:
    """Answers the new version; options that are not named stay as they are."""
    cache = cache_of(ctx)
    args = Args(argv, 2)
    name = take_text(args, "group name")
    if not args.accept(b"VERSION"):
        raise CommandError("UPDATE needs VERSION and the current version")
    version = args.take_int_within("VERSION", 1)
    current = cache.catalog.get_group(name)
    options = _take_group_options(args, dict(current.type_quotas))
    group = cache.catalog.update_group(name, version, options)
    cache.group_changed(group)
    return group.version


@command(
    "KVC.GROUP|REMOVE",
    summary="Removes a group.",
    arity=-3,
    args=(_NAME, _FORCE),
    reply=OK_REPLY,
    **{**_GROUP_CHANGE, "complexity": "O(N) with FORCE, N being the blocks of the group."},
)
def kvc_group_remove(ctx: "Context", argv: list[bytes]) -> Reply:
    """FORCE removes its instances with their blocks first."""
    cache = cache_of(ctx)
    args = Args(argv, 2)
    name = take_text(args, "group name")
    force = args.accept(b"FORCE")
    args.finish()
    group = cache.catalog.check_group_removable(name, force=force)
    for instance in cache.catalog.instances_of(group):
        cache.drop_index(instance, ctx.now_ms)
        cache.catalog.remove_instance(instance)
    cache.catalog.remove_group(group)
    cache.drop_group(group)
    return OK


@command("KVC.GROUP|LIST", summary="Names of all groups.", arity=2, reply=_NAMES_REPLY, **_SHOW)
def kvc_group_list(ctx: "Context", _argv: list[bytes]) -> Reply:
    """In the order of creation."""
    return [name.encode() for name in cache_of(ctx).catalog.groups]


@command(
    "KVC.GROUP|INFO",
    summary="What is known about a group.",
    arity=3,
    args=(_NAME,),
    reply=MapReply(AnyReply()),
    **_SHOW,
)
def kvc_group_info(ctx: "Context", argv: list[bytes]) -> Reply:
    """Its options as they are in force; nil stands for none."""
    catalog = cache_of(ctx).catalog
    group = catalog.get_group(take_text(Args(argv, 2), "group name"))
    info = Map(
        {
            b"name": group.name.encode(),
            b"version": group.version,
            b"storages": [name.encode() for name in group.storages],
            b"quota": group.quota_bytes,
            b"type_quotas": Map({k.encode(): size for k, size in group.type_quotas.items()}),
            b"high": Double(group.high_watermark),
            b"low": Double(group.low_watermark),
            b"policy": group.policy.encode(),
            b"ttl": group.ttl_s,
            b"grace_ms": group.grace_ms,
            b"retain": Double(group.retain_fraction),
            b"prefer": group.prefer_type and group.prefer_type.encode(),
            b"always": group.always_type and group.always_type.encode(),
            b"tiering": group.tiering.encode(),
            b"max_blocks": group.max_blocks,
            b"max_instances": group.max_instances,
            b"max_sessions": group.max_sessions,
            b"map": int(group.map_allowed),
            b"userdata": group.userdata,
        }
    )
    info[b"instances"] = [instance.id for instance in catalog.instances_of(group)]
    return info


SPECS = specs_of(
    GROUP,
    kvc_group_help,
    kvc_group_create,
    kvc_group_update,
    kvc_group_remove,
    kvc_group_list,
    kvc_group_info,
)
