"""KVC.STARTWRITE, KVC.FINISH, KVC.REMOVE and KVC.TRIM: how the set of cached blocks changes.

Parsing and wording only: what a write session is, and what fits, is the cache's.
"""

from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.kvc_arguments import (
    FORMAT_ARG,
    INSTANCE_ARG,
    KEY_WORDS,
    KEYS_ARG,
    MASK_ARG,
    SINCE,
    WRITES_INSTANCE,
    Mask,
    argument,
    cache_of,
    check_block_key,
    parse_format,
    parse_keys,
    parse_mask,
    parse_names,
    parse_priority,
    parse_text,
    parse_ttl_ms,
)
from hotplate.commands.kvc_events import tell_finish, tell_remove, tell_start, tell_trim
from hotplate.commands.kvc_locations import location_entries, packed_locations
from hotplate.commands.kvc_read import LOCATIONS_REPLY
from hotplate.commands.kvc_sync import finish_safely
from hotplate.errors import BadMaskError, ChecksumError, CommandError
from hotplate.kvc import write_session
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import SUM_BYTES, Instance
from hotplate.kvc.write_session import Outcome
from hotplate.resp.types import Reply
from hotplate.spec.args import INT64_MAX, parse_int_within, syntax_error
from hotplate.spec.model import (
    Flag,
    block,
    command,
    integer,
    oneof,
    specs_of,
    string,
    token,
    unix_time,
)
from hotplate.spec.reply import BulkReply, IntegerReply, NullReply, TupleReply, one_of

if TYPE_CHECKING:
    from hotplate.engine.context import Context
    from hotplate.kvc.cache import Cache

TIMEOUT_S_MAX: Final = 1800
DEFAULT_TIMEOUT_S: Final = 30
DEFAULT_PRIORITY: Final = 50


class _Write:
    """The options of one STARTWRITE."""

    __slots__ = (
        "groups",
        "keys_at",
        "msgpack",
        "parent",
        "priority",
        "storage",
        "timeout_ms",
        "ttl_ms",
    )

    def __init__(self) -> None:
        self.timeout_ms = DEFAULT_TIMEOUT_S * 1000
        self.groups: list[str] | None = None
        self.storage: str | None = None
        self.ttl_ms: int | None = None
        self.priority = DEFAULT_PRIORITY
        self.parent: bytes | None = None
        self.msgpack = False
        self.keys_at = 0


def _parse_write(argv: list[Any]) -> _Write:
    write = _Write()
    seen: set[bytes] = set()
    at, end = 2, len(argv)
    while at < end:
        word = argv[at].upper()
        if word in KEY_WORDS:
            write.keys_at = at
            return write
        if word in seen:
            raise CommandError(b"%b is given twice" % word)
        seen.add(word)
        value = argument(argv, at + 1)
        at += 2
        if word == b"FORMAT":
            write.msgpack = parse_format(value)
        elif word == b"PARENT":
            write.parent = check_block_key(value, "PARENT")
        elif word == b"TIMEOUT":
            write.timeout_ms = parse_int_within(value, "TIMEOUT", 1, TIMEOUT_S_MAX) * 1000
        elif word == b"SPECGROUPS":
            write.groups, at = parse_names(argv, at - 1, "SPECGROUPS")
        elif word == b"STORAGE":
            write.storage = parse_text(value, "STORAGE")
        elif word == b"TTL":
            write.ttl_ms = parse_ttl_ms(value)
        elif word == b"PRIORITY":
            write.priority = parse_priority(value)
        else:
            raise syntax_error()
    raise syntax_error()


def _spec_masks(instance: Instance, groups: list[str] | None, keys: Keys) -> list[int] | None:
    """The specs to write of each key; None for all specs of every key."""
    if groups is None:
        return None
    if len(groups) != len(keys):
        raise CommandError(f"SPECGROUPS names {len(groups)} groups for {len(keys)} keys")
    masks: list[int] = []
    for name in groups:
        mask = instance.spec_group_masks.get(name)
        if mask is None:
            raise CommandError(f"unknown spec group {name!r}")
        masks.append(mask)
    return masks


@command(
    "KVC.STARTWRITE",
    group="kvc",
    since=SINCE,
    arity=-4,
    flags=Flag.WRITE,
    summary="Reserves places for the blocks of a chain that are not cached yet.",
    complexity="O(N), N being the number of keys.",
    keys=WRITES_INSTANCE,
    args=(
        INSTANCE_ARG,
        integer("seconds", token="TIMEOUT", optional=True),
        block(
            "spec-groups",
            integer("count", token="SPECGROUPS"),
            string("name", multiple=True),
            optional=True,
        ),
        string("storage", token="STORAGE", optional=True),
        integer("ttl-seconds", token="TTL", optional=True),
        integer("priority", token="PRIORITY", optional=True),
        string("parent", token="PARENT", optional=True),
        FORMAT_ARG,
        KEYS_ARG,
    ),
    reply=TupleReply(
        (one_of(BulkReply(), NullReply()), BulkReply(rb"[01]*"), LOCATIONS_REPLY),
    ),
)
def kvc_startwrite(ctx: "Context", argv: list[Any]) -> Reply:
    """The session is nil where there is nothing to write."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    write = _parse_write(argv)
    keys = parse_keys(instance, argv, write.keys_at, write.parent)
    spec_masks = _spec_masks(instance, write.groups, keys)
    if write.storage is not None:
        cache.catalog.get_storage(write.storage)
    reservation = cache.start_write(
        instance,
        keys,
        now_ms=ctx.now_ms,
        timeout_ms=write.timeout_ms,
        spec_masks=spec_masks,
        storage=write.storage,
        ttl_ms=write.ttl_ms,
        priority=write.priority,
        parent=write.parent,
    )
    mask, spans = bytes(reservation.mask), reservation.spans
    if ctx.engine.kvc_events.on:
        tell_start(ctx, instance, argv, write, (reservation.session_id, mask, keys))
    locations: Reply
    if write.msgpack:
        locations = packed_locations(cache.catalog, instance, spans, 0)
    else:
        locations = location_entries(cache.catalog, instance, spans, 0, mask.count(b"0"))
    return [reservation.session_id, mask, locations]


def _parse_outcome(argv: list[Any]) -> tuple[Outcome, bytes | None]:
    outcome = write_session.ALL
    sums: bytes | None = None
    chosen = False
    at, end = 3, len(argv)
    while at < end:
        word = argv[at].upper()
        if word == b"CHECKSUMS" and sums is None:
            sums = bytes(argument(argv, at + 1))
            at += 2
            continue
        if chosen:
            raise syntax_error()
        chosen = True
        if word in (b"ALL", b"NONE"):
            outcome = write_session.ALL if word == b"ALL" else write_session.NOTHING
            at += 1
            continue
        value = argument(argv, at + 1)
        at += 2
        if word == b"PREFIX":
            outcome = write_session.prefix(parse_int_within(value, "PREFIX", 0))
        elif word == b"MASK":
            outcome = write_session.mask(_bits(value))
        elif word == b"FULLMASK":
            outcome = write_session.full_mask(_bits(value))
        else:
            raise syntax_error()
    if sums is not None and len(sums) % SUM_BYTES:
        raise ChecksumError(f"CHECKSUMS of {len(sums)} bytes are not whole sums of {SUM_BYTES}")
    return outcome, sums


def _bits(value: Any) -> bytes:
    bits = bytes(value)
    if bits.count(b"0") + bits.count(b"1") != len(bits):
        raise BadMaskError("a mask is made of 0 and 1")
    return bits


@command(
    "KVC.FINISH",
    group="kvc",
    since=SINCE,
    arity=-3,
    flags=Flag.WRITE,
    summary="Publishes the written blocks of a write session and frees the rest.",
    complexity="O(N), N being the blocks of the session.",
    keys=WRITES_INSTANCE,
    args=(
        INSTANCE_ARG,
        string("session"),
        oneof(
            "outcome",
            token("ALL"),
            token("NONE"),
            integer("prefix", token="PREFIX"),
            string("bits", token="MASK"),
            string("full-bits", token="FULLMASK"),
            optional=True,
        ),
        string("sums", token="CHECKSUMS", optional=True),
    ),
    reply=TupleReply((IntegerReply(0), IntegerReply(0))),
)
def kvc_finish(ctx: "Context", argv: list[Any]) -> Reply:
    """The same outcome again answers the same."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    outcome, sums = _parse_outcome(argv)
    session_id = bytes(argv[2])

    def finish() -> Reply:
        told = cache.open_session(session_id) if ctx.engine.kvc_events.on else None
        answer = cache.finish(instance, session_id, outcome, sums, ctx.now_ms)
        if told is not None:
            tell_finish(ctx, instance, told, outcome)
        return list(answer)

    return finish_safely(ctx, cache.open_session(session_id), finish)


@command(
    "KVC.REMOVE",
    group="kvc",
    since=SINCE,
    arity=-4,
    flags=Flag.WRITE,
    summary="Removes blocks.",
    complexity="O(N), N being the number of keys.",
    keys=WRITES_INSTANCE,
    args=(INSTANCE_ARG, MASK_ARG, KEYS_ARG),
    reply=IntegerReply(0),
)
def kvc_remove(ctx: "Context", argv: list[Any]) -> Reply:
    """Hidden at once; their bytes are freed after the group's grace and after leases on them."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    mask = Mask()
    at = parse_mask(argv, 2, mask)
    keys = parse_keys(instance, argv, at, None)
    _, unmasked = mask.unmasked(keys)
    removed = cache.remove(instance, unmasked, ctx.now_ms) if len(unmasked) else 0
    if ctx.engine.kvc_events.on:
        tell_remove(ctx, instance, keys, mask, (argv, at, removed))
    return removed


@command(
    "KVC.TRIM",
    group="kvc",
    since=SINCE,
    arity=-3,
    flags=Flag.WRITE,
    summary="Removes all blocks of an instance, or those of an age.",
    complexity="O(N), N being the blocks of the instance.",
    keys=WRITES_INSTANCE,
    args=(
        INSTANCE_ARG,
        oneof(
            "which",
            token("ALL"),
            token("META"),
            unix_time("before-ms", token="BEFORE"),
            block("between", unix_time("from-ms", token="BETWEEN"), unix_time("to-ms")),
            integer("idle-seconds", token="IDLE"),
        ),
    ),
    reply=IntegerReply(0),
)
def kvc_trim(ctx: "Context", argv: list[Any]) -> Reply:
    """Blocks that are being written go too; their FINISH counts them dropped."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    trimmed = _trim(cache, instance, argv, ctx.now_ms)
    if ctx.engine.kvc_events.on:
        tell_trim(ctx, instance, argv, trimmed)
    return trimmed


def _trim(cache: "Cache", instance: Instance, argv: list[Any], now_ms: int) -> int:
    word, count = argv[2].upper(), len(argv)
    if word in (b"ALL", b"META") and count == 3:
        return cache.trim_all(instance, now_ms)
    if word == b"BEFORE" and count == 4:
        to_ms = parse_int_within(argv[3], "BEFORE", 0)
        return cache.trim_created(instance, 0, to_ms, now_ms)
    if word == b"BETWEEN" and count == 5:
        from_ms = parse_int_within(argv[3], "BETWEEN", 0)
        to_ms = parse_int_within(argv[4], "BETWEEN", 0)
        if from_ms > to_ms:
            raise CommandError(f"BETWEEN {from_ms} {to_ms} ends before it begins")
        return cache.trim_created(instance, from_ms, to_ms, now_ms)
    if word == b"IDLE" and count == 4:
        idle_s = parse_int_within(argv[3], "IDLE", 0, INT64_MAX // 1000)
        return cache.trim_idle(instance, idle_s * 1000, now_ms)
    raise syntax_error()


SPECS = specs_of(kvc_startwrite, kvc_finish, kvc_remove, kvc_trim)
