"""KVC.STORAGE: the named places for block bytes.

A storage is entered in the catalog only once its store is open, and leaves it only after the cache
dropped what lay on it.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.kvc_arguments import (
    HELP_REPLY,
    SINCE,
    cache_of,
    help_reply,
    take_size,
    take_text,
)
from hotplate.errors import CommandError, StorageIOError
from hotplate.kvc.model import Storage, StorageState
from hotplate.resp.types import OK, Map, Reply
from hotplate.spec.args import Args
from hotplate.spec.model import (
    Flag,
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
from hotplate.tiers.directory import StoreOpenError

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_ADMIN: Final = {
    "group": "kvc",
    "since": SINCE,
    "flags": Flag.WRITE | Flag.ADMIN,
    "complexity": "O(1)",
    "reply": OK_REPLY,
}
_SHOW: Final = {"group": "kvc", "since": SINCE, "flags": Flag.READONLY, "complexity": "O(1)"}
_MAP_ARG: Final = oneof(
    "map", token("0", "forbidden"), token("1", "allowed"), token="MAP", optional=True
)
_NAME: Final = string("name")

STORAGE: Final = container(
    "KVC.STORAGE",
    group="kvc",
    since=SINCE,
    summary="A container for commands about the storages of the KV cache.",
    complexity="Depends on subcommand.",
)

_HELP: Final = (
    "ADD <name> TYPE <memory|ssd|file> [PATH <dir>] [CAPACITY <bytes>] [SEGMENT <bytes>]",
    "    [KEYSPERFILE <n>] [MAP <0|1>]",
    "    Open a storage for block bytes.",
    "UPDATE <name> [CAPACITY <bytes>] [MAP <0|1>]",
    "    Change options of a storage.",
    "ENABLE <name>",
    "    Let a disabled storage take writes and answer reads again.",
    "DISABLE <name>",
    "    Pass a storage over for writes; its copies are misses.",
    "REMOVE <name> [FORCE]",
    "    Remove a storage that nothing refers to; FORCE drops its blocks.",
    "LIST",
    "    Names of all storages.",
    "INFO <name>",
    "    What is known about a storage.",
)


@command(
    "KVC.STORAGE|HELP",
    summary="Returns help about the subcommands.",
    arity=2,
    reply=HELP_REPLY,
    **_SHOW,
)
def kvc_storage_help(_ctx: "Context", _argv: list[bytes]) -> Reply:
    """The subcommands, in words."""
    return help_reply("KVC.STORAGE", _HELP)


@command(
    "KVC.STORAGE|ADD",
    summary="Opens a storage for block bytes.",
    arity=-5,
    args=(
        _NAME,
        oneof("type", token("MEMORY"), token("SSD"), token("FILE"), token="TYPE"),
        string("dir", token="PATH", optional=True),
        integer("capacity-bytes", token="CAPACITY", optional=True),
        integer("segment-bytes", token="SEGMENT", optional=True),
        integer("keys-per-file", token="KEYSPERFILE", optional=True),
        _MAP_ARG,
    ),
    **_ADMIN,
)
def kvc_storage_add(ctx: "Context", argv: list[bytes]) -> Reply:
    """Opening comes first, so that a storage that cannot be opened never exists."""
    cache = cache_of(ctx)
    args = Args(argv, 2)
    name = take_text(args, "storage name")
    given: dict[str, Any] = {}
    while args:
        word = args.take_word()
        if word == b"TYPE":
            _set_once(given, word, "storage_type", take_text(args, "TYPE").lower())
        elif word == b"PATH":
            _set_once(given, word, "path", _path(args))
        elif word == b"CAPACITY":
            _set_once(given, word, "capacity_bytes", take_size(args, "CAPACITY", 1))
        elif word == b"SEGMENT":
            _set_once(given, word, "segment_bytes", take_size(args, "SEGMENT", 1))
        elif word == b"KEYSPERFILE":
            _set_once(given, word, "keys_per_file", take_size(args, "KEYSPERFILE", 1))
        elif word == b"MAP":
            _set_once(given, word, "map_allowed", args.take_bool("MAP"))
        else:
            raise CommandError(b"unknown storage option '%b'" % word[:128])
    if "storage_type" not in given:
        raise CommandError(f"storage {name!r} needs a TYPE")
    storage = cache.catalog.build_storage(name, given.pop("storage_type"), **given)
    storage.store = open_store(ctx, storage)
    cache.catalog.add_storage(storage)
    cache.storage_changed(storage)
    return OK


def open_store(ctx: "Context", storage: Storage) -> Any:
    """The store of a storage that is being added; what is wrong with its place becomes an error."""
    opener = ctx.engine.open_store
    if opener is None:
        raise CommandError("this server opens no storages")
    try:
        return opener(storage)
    except (StoreOpenError, OSError) as error:
        raise CommandError(f"storage {storage.name!r} cannot be opened: {error}") from error


def _path(args: Args) -> str:
    path = take_text(args, "PATH")
    if not path.startswith("/") or "\0" in path:
        raise CommandError(f"PATH {path!r} is not absolute")
    return path


def _set_once(given: dict[str, Any], word: bytes, name: str, value: Any) -> None:
    if name in given:
        raise CommandError(b"%b is given twice" % word)
    given[name] = value


@command(
    "KVC.STORAGE|UPDATE",
    summary="Changes options of a storage.",
    arity=-5,
    args=(
        _NAME,
        block(
            "option",
            oneof("name", token("CAPACITY"), token("MAP")),
            string("value"),
            multiple=True,
        ),
    ),
    **_ADMIN,
)
def kvc_storage_update(ctx: "Context", argv: list[bytes]) -> Reply:
    """Only what needs no reopening can change: a lower CAPACITY lets no new segment be made."""
    cache = cache_of(ctx)
    args = Args(argv, 2)
    storage = cache.catalog.get_storage(take_text(args, "storage name"))
    given: dict[str, Any] = {}
    while args:
        word = args.take_word()
        if word == b"CAPACITY":
            _set_once(given, word, "capacity_bytes", take_size(args, "CAPACITY", 1))
        elif word == b"MAP":
            _set_once(given, word, "map_allowed", args.take_bool("MAP"))
        elif word in (b"TYPE", b"PATH", b"SEGMENT", b"KEYSPERFILE"):
            raise CommandError(f"{word.decode()} of a storage cannot change, add another storage")
        else:
            raise CommandError(b"unknown storage option '%b'" % word[:128])
    if "map_allowed" in given:
        storage.map_allowed = given["map_allowed"]
    if "capacity_bytes" in given:
        storage.capacity_bytes = given["capacity_bytes"]
        storage.opened().capacity_bytes = given["capacity_bytes"]
    return OK


@command(
    "KVC.STORAGE|ENABLE",
    summary="Lets a disabled storage take writes and answer reads again.",
    arity=3,
    args=(_NAME,),
    **_ADMIN,
)
def kvc_storage_enable(ctx: "Context", argv: list[bytes]) -> Reply:
    """Its copies are hits again at once."""
    return _set_state(ctx, argv[2], StorageState.AVAILABLE)


@command(
    "KVC.STORAGE|DISABLE",
    summary="Passes a storage over for writes; its copies are misses.",
    arity=3,
    args=(_NAME,),
    **_ADMIN,
)
def kvc_storage_disable(ctx: "Context", argv: list[bytes]) -> Reply:
    """Copies stay where they are, for when it is enabled."""
    return _set_state(ctx, argv[2], StorageState.DISABLED)


def _set_state(ctx: "Context", name: bytes, state: StorageState) -> Reply:
    cache = cache_of(ctx)
    args = Args([name], 0)
    storage = cache.catalog.set_storage_state(take_text(args, "storage name"), state)
    cache.storage_changed(storage)
    return OK


@command(
    "KVC.STORAGE|REMOVE",
    summary="Removes a storage that nothing refers to.",
    arity=-3,
    args=(_NAME, token("FORCE", optional=True)),
    **{**_ADMIN, "complexity": "O(N) with FORCE, N being the blocks on the storage."},
)
def kvc_storage_remove(ctx: "Context", argv: list[bytes]) -> Reply:
    """FORCE drops its blocks, and takes it out of the groups that have another storage left."""
    cache = cache_of(ctx)
    args = Args(argv, 2)
    name = take_text(args, "storage name")
    force = args.accept(b"FORCE")
    args.finish()
    storage = cache.catalog.get_storage(name)
    held_bytes = cache.storage_bytes(storage)
    cache.catalog.check_storage_removable(name, force=force, held_bytes=held_bytes)
    cache.drop_storage(storage, ctx.now_ms)
    cache.catalog.remove_storage(storage)
    try:
        storage.opened().close(remove=True)  # bytes that are still being sent stay readable
    except OSError as error:
        raise StorageIOError(f"storage {name!r} is removed, but files stay: {error}") from error
    return OK


@command(
    "KVC.STORAGE|LIST",
    summary="Names of all storages.",
    arity=2,
    reply=ArrayReply(BulkReply()),
    **_SHOW,
)
def kvc_storage_list(ctx: "Context", _argv: list[bytes]) -> Reply:
    """In the order in which they were added."""
    return [name.encode() for name in cache_of(ctx).catalog.storages]


@command(
    "KVC.STORAGE|INFO",
    summary="What is known about a storage.",
    arity=3,
    args=(_NAME,),
    reply=MapReply(AnyReply()),
    **_SHOW,
)
def kvc_storage_info(ctx: "Context", argv: list[bytes]) -> Reply:
    """`path` is where a client on this host finds the segment files; nil where MAP is 0."""
    catalog = cache_of(ctx).catalog
    storage = catalog.get_storage(take_text(Args(argv, 2), "storage name"))
    info = describe_storage(storage, map_allowed=storage.map_allowed)
    figures = storage.opened().describe()
    info.update({name.encode(): _value(value) for name, value in figures.items() if name != "path"})
    info[b"groups"] = [group.name.encode() for group in catalog.groups_using(storage)]
    return info


def describe_storage(storage: Storage, *, map_allowed: bool) -> Map:
    """What a client needs to open a storage itself."""
    path = storage.opened().describe().get("path")
    return Map(
        {
            b"name": storage.name.encode(),
            b"type": storage.type.encode(),
            b"state": storage.state.value.encode(),
            b"map": int(map_allowed),
            b"path": str(path).encode() if map_allowed and path is not None else None,
        }
    )


def _value(value: Any) -> Reply:
    return value if isinstance(value, int | bytes | None) else str(value).encode()


SPECS = specs_of(
    STORAGE,
    kvc_storage_help,
    kvc_storage_add,
    kvc_storage_update,
    kvc_storage_enable,
    kvc_storage_disable,
    kvc_storage_remove,
    kvc_storage_list,
    kvc_storage_info,
)
