"""KVC.GETLOC, KVC.META and KVC.LEASE: which blocks are there, where, and for how long.

GETLOC's options are parsed straight-line and packed keys stay one blob, so that COUNT costs the
same for ten keys and for ten thousand.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.kvc_arguments import (
    FORMAT_ARG,
    INSTANCE_ARG,
    KEY_WORDS,
    KEYS_ARG,
    MASK_ARG,
    READS_INSTANCE,
    SINCE,
    WRITES_INSTANCE,
    Mask,
    argument,
    cache_of,
    parse_format,
    parse_keys,
    parse_mask,
    parse_names,
    spec_mask,
)
from hotplate.commands.kvc_events import tell_lookup
from hotplate.commands.kvc_locations import location_entries, packed_locations, storage_of
from hotplate.errors import CommandError
from hotplate.kvc.answers import BlockMeta, CopyMeta, Match, Mode
from hotplate.kvc.catalog import Catalog
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import SUM_BYTES, Instance
from hotplate.limits import KEYS_PER_CALL_MAX
from hotplate.resp.types import Map, Reply
from hotplate.spec.args import parse_int_within, syntax_error
from hotplate.spec.model import (
    Flag,
    block,
    command,
    integer,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import (
    AnyReply,
    ArrayReply,
    BulkReply,
    IntegerReply,
    MapReply,
    NullReply,
    TupleReply,
    one_of,
)

if TYPE_CHECKING:
    from hotplate.engine.context import Context
    from hotplate.kvc.cache import Cache

LOCATION_REPLY: Final = TupleReply(
    (
        BulkReply(),
        BulkReply(),
        ArrayReply(
            TupleReply(
                (
                    BulkReply(),
                    BulkReply(rb"(shm|file)://.+"),
                    IntegerReply(1),
                    one_of(BulkReply(rb"[0-9a-f]{16}"), NullReply()),
                )
            )
        ),
    )
)
LOCATIONS_REPLY: Final = one_of(ArrayReply(one_of(LOCATION_REPLY, NullReply())), BulkReply())


_NO_KEYS: Final = Keys.listed([])


class _Query:
    """The options of one GETLOC."""

    __slots__ = (
        "count",
        "keys",
        "keys_at",
        "lease_ms",
        "mask",
        "mode",
        "msgpack",
        "specs",
        "touch",
        "window",
    )

    def __init__(self) -> None:
        self.mode = Mode.PREFIX
        self.window = 0
        self.mask: Mask | None = None
        self.specs = 0
        self.lease_ms: int | None = None
        self.touch = True
        self.count = False
        self.msgpack = False
        self.keys = _NO_KEYS  # as they were given
        self.keys_at = 0


def _parse_query(ctx: "Context", instance: Instance, argv: list[Any]) -> _Query:
    query = _Query()
    seen: set[bytes] = set()
    at, end = 2, len(argv)
    while at < end:
        word = argv[at].upper()
        if word in KEY_WORDS:
            query.keys_at = at
            break
        if word in seen:
            raise CommandError(b"%b is given twice" % word)
        seen.add(word)
        if word == b"COUNT":
            query.count = True
            at += 1
        else:
            at = _parse_query_option(ctx, instance, argv, at, query)
    else:
        raise syntax_error()
    if query.count and (query.lease_ms is not None or b"FORMAT" in seen):
        raise CommandError("COUNT takes neither LEASE nor FORMAT")
    if len(seen & _MODES) > 1 or len(seen & _MASKS) > 1:
        raise syntax_error()
    return query


_MODES: Final = frozenset((b"PREFIX", b"EXACT", b"WINDOW"))
_MASKS: Final = frozenset((b"SKIP", b"MASK"))


def _parse_query_option(
    ctx: "Context", instance: Instance, argv: list[Any], at: int, query: _Query
) -> int:
    word = argv[at].upper()
    if word == b"FORMAT":
        query.msgpack = parse_format(argument(argv, at + 1))
        return at + 2
    if word in _MASKS:
        query.mask = Mask()
        return parse_mask(argv, at, query.mask)
    if word == b"SPECS":
        names, behind = parse_names(argv, at + 1, "SPECS")
        query.specs = spec_mask(instance, names)
        return behind
    if word == b"LEASE":
        longest_ms = ctx.engine.config.kvc_lease_max_ms
        query.lease_ms = parse_int_within(argument(argv, at + 1), "LEASE", 1, longest_ms)
        return at + 2
    if word == b"WINDOW":
        query.mode = Mode.WINDOW
        query.window = parse_int_within(argument(argv, at + 1), "WINDOW", 1, KEYS_PER_CALL_MAX)
        return at + 2
    if word == b"NOTOUCH":
        query.touch = False
    elif word == b"EXACT":
        query.mode = Mode.EXACT
    elif word != b"PREFIX":
        raise syntax_error()
    return at + 1


@command(
    "KVC.GETLOC",
    group="kvc",
    since=SINCE,
    arity=-4,
    flags=Flag.READONLY | Flag.FAST,
    summary="Finds which blocks of a chain are cached, and where their bytes lie.",
    complexity="O(log N) with COUNT, else O(log N + R), N being the keys and R the runs they lie "
    "in; O(N) where the chain has holes or keys are listed one by one.",
    keys=READS_INSTANCE,
    args=(
        INSTANCE_ARG,
        oneof(
            "mode",
            token("PREFIX"),
            token("EXACT"),
            integer("window", token="WINDOW"),
            optional=True,
        ),
        MASK_ARG,
        block(
            "specs", integer("count", token="SPECS"), string("name", multiple=True), optional=True
        ),
        integer("lease-ms", token="LEASE", optional=True),
        token("NOTOUCH", optional=True),
        token("COUNT", optional=True),
        FORMAT_ARG,
        KEYS_ARG,
    ),
    reply=one_of(
        IntegerReply(0),
        TupleReply(
            (
                IntegerReply(0),
                IntegerReply(-1),
                LOCATIONS_REPLY,
                one_of(BulkReply(), NullReply()),
            )
        ),
    ),
)
def kvc_getloc(ctx: "Context", argv: list[Any]) -> Reply:
    """With COUNT the number of matched keys alone."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    if not cache.times_lookup():
        return _getloc(ctx, cache, instance, argv)
    began_ns = ctx.engine.clock.monotonic_ns()
    reply = _getloc(ctx, cache, instance, argv)
    spent_ns = ctx.engine.clock.monotonic_ns() - began_ns
    cache.counters_of(instance).lookup_ns.add(spent_ns)
    return reply


def _getloc(ctx: "Context", cache: "Cache", instance: Instance, argv: list[Any]) -> Reply:
    query = _parse_query(ctx, instance, argv)
    query.keys = keys = parse_keys(instance, argv, query.keys_at, None)
    start, keys = _apply_mask(query, keys)
    if query.mode is Mode.WINDOW and len(keys) and query.window > len(keys):
        raise CommandError(f"WINDOW {query.window} is more than the {len(keys)} keys")
    if not keys:
        match = Match(0, start)
    else:
        match = cache.match(
            instance,
            keys,
            mode=query.mode,
            now_ms=ctx.now_ms,
            start=start,
            window=query.window,
            specs=query.specs,
            touch=query.touch,
            lease_ms=query.lease_ms,
            spans=not query.count,
        )
    events = ctx.engine.kvc_events
    if events.on and events.wants_lookup():
        tell_lookup(ctx, instance, argv, query, match.matched)
    if query.count:
        return match.matched
    catalog, wanted = cache.catalog, query.specs
    if query.msgpack:
        packed = packed_locations(catalog, instance, match.spans, wanted)
        return [match.matched, match.start, packed, match.lease_id]
    count = len(keys) if query.mode is Mode.EXACT else match.matched
    entries = location_entries(catalog, instance, match.spans, wanted, count)
    return [match.matched, match.start, entries, match.lease_id]


def _apply_mask(query: _Query, keys: Keys) -> tuple[int, Keys]:
    """PREFIX drops masked keys; the other modes ignore a mask, once it fits."""
    if query.mask is None:
        return 0, keys
    if query.mode is Mode.PREFIX:
        return query.mask.unmasked(keys)
    query.mask.check(keys)
    return 0, keys


@command(
    "KVC.META",
    group="kvc",
    since=SINCE,
    arity=-4,
    flags=Flag.READONLY,
    summary="Shows what is known of blocks and of every copy of them.",
    complexity="O(N), N being the number of keys.",
    keys=READS_INSTANCE,
    args=(INSTANCE_ARG, MASK_ARG, KEYS_ARG),
    reply=ArrayReply(one_of(NullReply(), MapReply(AnyReply()))),
)
def kvc_meta(ctx: "Context", argv: list[Any]) -> Reply:
    """Nil for a key that is not stored; blocks that are being written are shown too."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    mask = Mask()
    at = parse_mask(argv, 2, mask)
    keys = parse_keys(instance, argv, at, None)
    _, unmasked = mask.unmasked(keys)
    return [
        None if meta is None else _meta_reply(cache.catalog, instance, meta)
        for meta in cache.meta(instance, unmasked, ctx.now_ms)
    ]


def _meta_reply(catalog: Catalog, instance: Instance, meta: BlockMeta) -> Map:
    return Map(
        {
            b"parent": meta.parent,
            b"state": meta.state.encode(),
            b"bytes": meta.size_bytes,
            b"created": meta.created_ms,
            b"accessed": meta.accessed_ms,
            b"hits": meta.hits,
            b"expires": meta.expires_ms,
            b"priority": meta.priority,
            b"leases": meta.leases,
            b"locations": [_copy_reply(catalog, instance, copy) for copy in meta.copies],
        }
    )


def _copy_reply(catalog: Catalog, instance: Instance, copy: CopyMeta) -> Map:
    storage = storage_of(catalog, copy.storage)
    numbers = instance.numbers_in(copy.specs)
    sums = [copy.sums[at : at + SUM_BYTES] for at in range(0, len(copy.sums), SUM_BYTES)]
    return Map(
        {
            b"storage": storage.name.encode(),
            b"type": storage.type.encode(),
            b"available": int(storage.available),
            b"state": copy.state.encode(),
            b"bytes": copy.size_bytes,
            b"specs": [instance.specs[number].name.encode() for number in numbers],
            b"sums": [value.hex().encode() for value in sums],
        }
    )


@command(
    "KVC.LEASE",
    group="kvc",
    since=SINCE,
    arity=-4,
    flags=Flag.WRITE | Flag.FAST,
    summary="Extends or ends a lease.",
    complexity="O(1) to extend, O(N) to release, N being the runs that the lease holds.",
    keys=WRITES_INSTANCE,
    args=(
        INSTANCE_ARG,
        string("lease"),
        oneof("action", integer("ms", token="EXTEND"), token("RELEASE")),
    ),
    reply=IntegerReply(0, 1),
)
def kvc_lease(ctx: "Context", argv: list[Any]) -> Reply:
    """0 where the lease is unknown, or ended already."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    word = argv[3].upper()
    if word == b"EXTEND" and len(argv) == 5:
        longest_ms = ctx.engine.config.kvc_lease_max_ms
        span_ms = parse_int_within(argv[4], "EXTEND", 1, longest_ms)
        return int(cache.extend_lease(instance, argv[2], span_ms, ctx.now_ms))
    if word == b"RELEASE" and len(argv) == 4:
        return int(cache.release_lease(instance, argv[2], ctx.now_ms))
    raise syntax_error()


SPECS = specs_of(kvc_getloc, kvc_meta, kvc_lease)
