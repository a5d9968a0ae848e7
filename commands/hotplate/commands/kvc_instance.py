"""KVC.INSTANCE: which model deployments there are, in which group, with which specs.

Registration is idempotent: an engine's workers all send it, and only other content is refused.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.kvc_arguments import (
    HELP_REPLY,
    SINCE,
    cache_of,
    help_reply,
    take_names,
    take_size,
    take_text,
)
from hotplate.commands.kvc_storage import describe_storage
from hotplate.errors import CommandError, InUseError
from hotplate.kvc.model import Deployment, Group, Instance, Registration, Spec, SpecGroup
from hotplate.resp.types import OK, Map, Reply
from hotplate.spec.args import Args
from hotplate.spec.model import (
    Arg,
    Flag,
    Keys,
    block,
    command,
    container,
    integer,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import OK_REPLY, AnyReply, ArrayReply, BulkReply, MapReply
from hotplate.wire.hashing import DEFAULT_SCHEME, DEFAULT_SEED, SCHEMES

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_SHOW: Final = {"group": "kvc", "since": SINCE, "flags": Flag.READONLY, "complexity": "O(1)"}
_NAMES_REPLY: Final = ArrayReply(BulkReply())
_FORCE: Final = token("FORCE", optional=True)


INSTANCE: Final = container(
    "KVC.INSTANCE",
    group="kvc",
    since=SINCE,
    summary="A container for commands about the instances of the KV cache.",
    complexity="Depends on subcommand.",
)
_INSTANCE_HELP: Final = (
    "REGISTER <id> GROUP <group> BLOCKTOKENS <n> SPEC <name> <bytes> [SPEC <name> <bytes>] ...",
    "        [SPECGROUP <name> <n> <spec> ...] [CHAINED <0|1>] [HASH <scheme>] [...]",
    "    Register a model deployment; the same content again is no error.",
    "REMOVE <id> [FORCE]",
    "    Remove an instance without blocks; FORCE drops its blocks.",
    "LIST [GROUP <group>]",
    "    Ids of the instances.",
    "INFO <id>",
    "    What is known about an instance.",
)
_SETS_INSTANCE: Final = {
    "group": "kvc",
    "since": SINCE,
    "flags": Flag.WRITE,
    "complexity": "O(1)",
    "keys": (Keys(begin=2, flags=("RW", "UPDATE", "NOT_KEY")),),
}
_SHOWS_INSTANCE: Final = {**_SHOW, "keys": (Keys(begin=2, flags=("RO", "ACCESS", "NOT_KEY")),)}
_ID: Final = Arg(name="id", type="key", key_spec_index=0)


@command(
    "KVC.INSTANCE|HELP",
    summary="Returns help about the subcommands.",
    arity=2,
    reply=HELP_REPLY,
    **_SHOW,
)
def kvc_instance_help(_ctx: "Context", _argv: list[bytes]) -> Reply:
    """The subcommands, in words."""
    return help_reply("KVC.INSTANCE", _INSTANCE_HELP)


def _hash_scheme(args: Args) -> str:
    scheme = take_text(args, "HASH").lower()
    if scheme not in SCHEMES:
        raise CommandError(f"unknown HASH {scheme!r}, one of {' '.join(SCHEMES)}")
    return scheme


_RANKS: Final = {b"TP": "tp", b"DP": "dp", b"PP": "pp"}
_DEPLOYMENT_TEXTS: Final = {
    b"MODEL": "model",
    b"DTYPE": "dtype",
    b"LORA": "lora",
    b"EXTRA": "extra",
}


def _take_registration(args: Args, instance_id: bytes) -> tuple[Registration, bytes]:
    """What REGISTER says, and USERDATA."""
    given: dict[bytes, Any] = {}
    specs: list[Spec] = []
    spec_groups: list[SpecGroup] = []
    while args:
        word = args.take_word()
        if word == b"SPEC":
            name = take_text(args, "SPEC")
            specs.append(Spec(name, take_size(args, f"SPEC {name}", 1)))
            continue
        if word == b"SPECGROUP":
            name = take_text(args, "SPECGROUP")
            spec_groups.append(SpecGroup(name, tuple(take_names(args, "SPECGROUP"))))
            continue
        if word in given:
            raise CommandError(b"%b is given twice" % word)
        given[word] = _registration_option(args, word)
    for needed in (b"GROUP", b"BLOCKTOKENS"):
        if needed not in given:
            raise CommandError(b"REGISTER needs %b" % needed)
    scheme = given.get(b"HASH", DEFAULT_SCHEME)
    seeded = SCHEMES[scheme].seeded
    if b"HASHSEED" in given and not seeded:
        raise CommandError(f"HASH {scheme} takes no HASHSEED")
    deployment = {field: given[word] for word, field in _RANKS.items() if word in given}
    deployment |= {field: given[word] for word, field in _DEPLOYMENT_TEXTS.items() if word in given}
    registration = Registration(
        id=instance_id,
        group=given[b"GROUP"],
        block_tokens=given[b"BLOCKTOKENS"],
        specs=tuple(specs),
        spec_groups=_in_order(spec_groups, specs),
        chained=given.get(b"CHAINED", True),
        hash_scheme=scheme,
        hash_seed=given.get(b"HASHSEED", DEFAULT_SEED if seeded else ""),
        deployment=Deployment(mla=given.get(b"MLA", False), **deployment),
    )
    return registration, given.get(b"USERDATA", b"")


def _registration_option(args: Args, word: bytes) -> Any:
    if word == b"GROUP":
        return take_text(args, "GROUP")
    if word == b"BLOCKTOKENS" or word in _RANKS:
        return args.take_int_within(word.decode(), 1, 1 << 20)
    if word in (b"CHAINED", b"MLA"):
        return args.take_bool(word.decode())
    if word == b"HASH":
        return _hash_scheme(args)
    if word == b"HASHSEED" or word in _DEPLOYMENT_TEXTS:
        return take_text(args, word.decode())
    if word == b"USERDATA":
        return args.take()
    raise CommandError(b"unknown instance option '%b'" % word[:128])


def _in_order(groups: list[SpecGroup], specs: list[Spec]) -> tuple[SpecGroup, ...]:
    """One order for equal content: groups by name, their specs as registered, unknown ones last."""
    rank = {spec.name: number for number, spec in enumerate(specs)}
    return tuple(
        SpecGroup(
            group.name,
            tuple(sorted(group.specs, key=lambda name: (rank.get(name, len(rank)), name))),
        )
        for group in sorted(groups, key=lambda group: group.name)
    )


@command(
    "KVC.INSTANCE|REGISTER",
    summary="Registers a model deployment.",
    arity=-10,
    args=(
        _ID,
        string("group", token="GROUP"),
        integer("block-tokens", token="BLOCKTOKENS"),
        block("spec", string("name", token="SPEC"), integer("bytes"), multiple=True),
        block(
            "spec-group",
            string("name", token="SPECGROUP"),
            integer("count"),
            string("spec", multiple=True),
            optional=True,
            multiple=True,
        ),
        oneof("chained", token("0", "no"), token("1", "yes"), token="CHAINED", optional=True),
        oneof(
            "hash",
            *(token(name.upper(), name) for name in SCHEMES),
            token="HASH",
            optional=True,
        ),
        string("hash-seed", token="HASHSEED", optional=True),
        string("model", token="MODEL", optional=True),
        string("dtype", token="DTYPE", optional=True),
        oneof("mla", token("0", "no"), token("1", "yes"), token="MLA", optional=True),
        integer("tp", token="TP", optional=True),
        integer("dp", token="DP", optional=True),
        integer("pp", token="PP", optional=True),
        string("lora", token="LORA", optional=True),
        string("extra", token="EXTRA", optional=True),
        string("userdata", token="USERDATA", optional=True),
    ),
    reply=MapReply(AnyReply()),
    **_SETS_INSTANCE,
)
def kvc_instance_register(ctx: "Context", argv: list[bytes]) -> Reply:
    """Answers the group and its storages, so that a client can reach the bytes itself."""
    cache = cache_of(ctx)
    registration, userdata = _take_registration(Args(argv, 3), argv[2])
    instance, _ = cache.catalog.register(registration, userdata)
    cache.create_index(instance)
    return Map({b"group": instance.group.name.encode(), b"storages": _storages_of(ctx, instance)})


def _storages_of(ctx: "Context", instance: Instance) -> list[Map]:
    catalog = cache_of(ctx).catalog
    group: Group = instance.group
    found: list[Map] = []
    for name in group.storages:
        storage = catalog.get_storage(name)
        mapped = storage.map_allowed and group.map_allowed
        found.append(describe_storage(storage, map_allowed=mapped))
    return found


@command(
    "KVC.INSTANCE|REMOVE",
    summary="Removes an instance.",
    arity=-3,
    args=(_ID, _FORCE),
    reply=OK_REPLY,
    **{**_SETS_INSTANCE, "complexity": "O(N) with FORCE, N being the blocks of the instance."},
)
def kvc_instance_remove(ctx: "Context", argv: list[bytes]) -> Reply:
    """Without FORCE an instance that holds blocks stays."""
    cache = cache_of(ctx)
    args = Args(argv, 3)
    force = args.accept(b"FORCE")
    args.finish()
    instance = cache.catalog.get_instance(argv[2])
    blocks = cache.block_count(instance)
    if blocks and not force:
        raise InUseError(b"instance '%b' holds %d blocks" % (instance.id, blocks))
    cache.drop_index(instance, ctx.now_ms)
    cache.catalog.remove_instance(instance)
    return OK


@command(
    "KVC.INSTANCE|LIST",
    summary="Ids of the instances.",
    arity=-2,
    args=(string("group", token="GROUP", optional=True),),
    reply=_NAMES_REPLY,
    **{**_SHOW, "complexity": "O(N), N being the number of instances."},
)
def kvc_instance_list(ctx: "Context", argv: list[bytes]) -> Reply:
    """Those of one group, or all."""
    catalog = cache_of(ctx).catalog
    args = Args(argv, 2)
    if not args:
        return list(catalog.instances)
    if not args.accept(b"GROUP"):
        raise CommandError(b"unknown option '%b'" % args.take()[:128])
    group = catalog.get_group(take_text(args, "GROUP"))
    args.finish()
    return [instance.id for instance in catalog.instances_of(group)]


@command(
    "KVC.INSTANCE|INFO",
    summary="What is known about an instance.",
    arity=3,
    args=(_ID,),
    reply=MapReply(AnyReply()),
    **_SHOWS_INSTANCE,
)
def kvc_instance_info(ctx: "Context", argv: list[bytes]) -> Reply:
    """What REGISTER said, and what a block takes."""
    instance = cache_of(ctx).catalog.get_instance(argv[2])
    said = instance.registration
    deployment = said.deployment
    info = Map(
        {
            b"id": instance.id,
            b"group": instance.group.name.encode(),
            b"block_tokens": instance.block_tokens,
            b"block_bytes": instance.total_bytes,
            b"specs": Map({spec.name.encode(): spec.size_bytes for spec in instance.specs}),
            b"spec_groups": Map(
                {
                    group.name.encode(): [name.encode() for name in group.specs]
                    for group in said.spec_groups
                }
            ),
            b"chained": int(instance.chained),
            b"hash": said.hash_scheme.encode(),
            b"hash_seed": said.hash_seed.encode(),
            b"mla": int(deployment.mla),
        }
    )
    for field in _DEPLOYMENT_TEXTS.values():
        info[field.encode()] = getattr(deployment, field).encode()
    for field in _RANKS.values():
        info[field.encode()] = getattr(deployment, field)
    info[b"userdata"] = instance.userdata
    info[b"storages"] = _storages_of(ctx, instance)
    return info


SPECS = specs_of(
    INSTANCE,
    kvc_instance_help,
    kvc_instance_register,
    kvc_instance_remove,
    kvc_instance_list,
    kvc_instance_info,
)
