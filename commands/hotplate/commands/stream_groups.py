"""Consumer groups: making and removing them and their consumers, and what becomes of deliveries.

XACK, XACKDEL and XNACK end a delivery; XGROUP has the rest, XGROUP POLICY among it, which is ours.
"""

from typing import Final

from hotplate.commands.stream_arguments import (
    IDS_ARG,
    OUTCOMES_REPLY,
    REFERENCES_ARG,
    get_group,
    get_stream,
    new_stream,
    no_group_in_stream,
    parse_id,
    parse_ids,
    subcommand_syntax,
    take_ids,
)
from hotplate.commands.stream_deletes import delete_entry, parse_references_and_ids
from hotplate.commands.values import read_value, write_value
from hotplate.engine.context import Context
from hotplate.errors import BusyGroupError, CommandError
from hotplate.keyspace.stream import DELETE_REFERENCES, Stream
from hotplate.keyspace.stream_entry import format_ids, read_whole_id
from hotplate.keyspace.stream_group import DELIVERIES_MAX, NOT_READ, Group, Policy
from hotplate.keyspace.stream_policy import give_back, tell_released
from hotplate.resp.types import OK, ONE, ZERO, Reply, Simple
from hotplate.spec.args import Args, parse_int_within, syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    container,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
    unix_time,
)
from hotplate.spec.reply import OK_REPLY, ArrayReply, IntegerReply, SimpleReply

VISIBILITY_MS: Final = 600_000  # where only MAXDELIVER is given
_POLICY_MS_MAX: Final = 10 * 365 * 24 * 3600 * 1000
_NO_KEY: Final = (
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the"
    " MKSTREAM option to create an empty stream automatically."
)
_HELP: Final = (
    b"XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CREATE <key> <groupname> <id|$> [option]",
    b"    Create a new consumer group. Options are:",
    b"    * MKSTREAM",
    b"      Create the empty stream if it does not exist.",
    b"    * ENTRIESREAD entries_read",
    b"      Set the group's entries_read counter (internal use).",
    b"CREATECONSUMER <key> <groupname> <consumer>",
    b"    Create a new consumer in the specified group.",
    b"DELCONSUMER <key> <groupname> <consumer>",
    b"    Remove the specified consumer.",
    b"DESTROY <key> <groupname>",
    b"    Remove the specified group.",
    b"POLICY <key> <groupname> [option ...]",
    b"    Set what the server does with unacknowledged entries; no option: nothing. Options are:",
    b"    * VISIBILITY milliseconds",
    b"      Hand entries out again that were not acknowledged in this time.",
    b"    * MAXDELIVER n DEAD <key>",
    b"      Move entries to the stream <key> after n deliveries.",
    b"    * BACKOFF base-milliseconds max-milliseconds",
    b"      Wait before an entry is handed out again, twice as long every time.",
    b"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    b"    Set the current group ID and entries_read counter.",
    b"HELP",
    b"    Prints this help.",
)


# -- what becomes of deliveries ----------------------------------------------------------------


@command(
    "XACK",
    group="stream",
    since="5.0.0",
    arity=-4,
    summary="Marks a pending message as correctly processed, effectively removing it from the"
    " pending entries list of the consumer group. Return value of the command is the number of"
    " messages successfully acknowledged, that is, the IDs we were actually able to resolve in the"
    " PEL.",
    complexity="O(1) for each message ID processed.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(key(), string("group"), string("id", multiple=True)),
    reply=IntegerReply(0),
    acl_categories=("stream",),
)
def xack(ctx: Context, argv: list[bytes]) -> Reply:
    """XACK key group id [id ...]"""
    stream = get_stream(ctx, argv[1])
    group = None if stream is None else stream.groups.get(argv[2])
    if group is None:
        return ZERO
    texts = argv[3:]
    first_id = read_whole_id(texts[0])
    delivery = None if first_id is None else group.pending.get(first_id)
    if delivery is not None and delivery.is_whole and format_ids(delivery.ids) == texts:
        acknowledged = group.forget_all(delivery)
    else:
        acknowledged = group.forget(parse_ids(texts))
    ctx.db.dirty += acknowledged
    if ctx.db.credit_waits:
        ctx.engine.pacing.acknowledged(ctx.db, argv[1])
    return acknowledged


@command(
    "XACKDEL",
    group="stream",
    since="8.2.0",
    arity=-6,
    summary="Acknowledges and conditionally deletes one or multiple entries for a stream consumer"
    " group.",
    complexity="O(1) for each entry ID processed.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE", "DELETE")),),
    args=(key(), string("group"), REFERENCES_ARG, IDS_ARG),
    reply=OUTCOMES_REPLY,
    acl_categories=("stream",),
)
def xackdel(ctx: Context, argv: list[bytes]) -> Reply:
    """XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]"""
    references, texts = parse_references_and_ids(argv, 3)
    ids = parse_ids(texts)
    stream = write_value(ctx, argv[1], Stream)
    group = None if stream is None else stream.groups.get(argv[2])
    if stream is None or group is None:
        return [-1] * len(ids)
    outcomes = []
    for entry_id in ids:
        acknowledged = group.forget((entry_id,))
        ctx.db.dirty += acknowledged
        is_dangling = references == DELETE_REFERENCES and stream.get(entry_id) is None
        if acknowledged or is_dangling:
            outcomes.append(delete_entry(stream, entry_id, references))
        else:
            outcomes.append(-1)
    if 1 in outcomes:
        ctx.db.changed(argv[1], "xdel")
    if ctx.db.credit_waits:
        ctx.engine.pacing.acknowledged(ctx.db, argv[1])
    return outcomes


@command(
    "XNACK",
    group="stream",
    since="8.8.0",
    arity=-7,
    summary="Releases pending messages back to the group's PEL without acknowledging them, making"
    " them available for re-delivery.",
    complexity="O(1) for each message ID processed.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        string("group"),
        oneof("mode", token("SILENT"), token("FAIL"), token("FATAL")),
        IDS_ARG,
        integer("count", token="RETRYCOUNT", optional=True),
        token("FORCE", optional=True),
    ),
    reply=IntegerReply(0),
    acl_categories=("stream",),
)
def xnack(ctx: Context, argv: list[bytes]) -> Reply:
    """XNACK key group SILENT|FAIL|FATAL IDS numids id [id ...] [RETRYCOUNT count] [FORCE]"""
    mode = argv[3].upper()
    if mode not in (b"SILENT", b"FAIL", b"FATAL"):
        raise syntax_error()
    texts: list[bytes] | None = None
    retry_count: int | None = None
    is_forced = False
    args = Args(argv, 4)
    while args:
        word = args.take_word()
        if word == b"IDS" and texts is None:
            texts = take_ids(args)
        elif word == b"RETRYCOUNT" and retry_count is None:
            retry_count = args.take_int("Invalid RETRYCOUNT option argument for XNACK")
            if retry_count < 0:
                raise CommandError("Invalid RETRYCOUNT option argument for XNACK")
        elif word == b"FORCE":
            is_forced = True
        else:
            raise syntax_error()
    if texts is None:
        raise syntax_error()
    ids = parse_ids(texts)
    stream, group = get_group(ctx, argv[1], argv[2])
    released = 0
    for entry_id in ids:
        delivery = group.pending.get(entry_id)
        if delivery is None and not (is_forced and stream.get(entry_id) is not None):
            continue
        deliveries = 0 if delivery is None else delivery.deliveries
        if retry_count is not None:
            deliveries = retry_count
        elif mode == b"FATAL":
            deliveries = DELIVERIES_MAX
        elif mode == b"SILENT":
            deliveries = max(deliveries - 1, 0)
        if mode == b"SILENT":
            group.release(entry_id, deliveries)
        else:
            give_back(group, entry_id, deliveries, ctx.now_ms)
        tell_released(ctx.db, argv[1], group, entry_id)
        released += 1
    if released:
        ctx.db.noted(argv[1], "xnack")
        ctx.engine.stream_policies.apply(ctx.db, argv[1], stream, group, ctx.now_ms)
        ctx.engine.blocking.touched(ctx.db.index, argv[1])
    return released


@command(
    "XRELEASE",
    group="stream",
    since="0.1.0",
    arity=6,
    is_internal=True,
    summary="What the log says of an entry that was given back: pending, and nobody's.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        string("group"),
        string("id"),
        integer("deliveries"),
        unix_time("available-milliseconds"),
    ),
    reply=IntegerReply(0, 1),
    acl_categories=("stream",),
)
def xrelease(ctx: Context, argv: list[bytes]) -> Reply:
    """XRELEASE key group id deliveries available-ms: 1, or 0 where there is no such entry"""
    deliveries = parse_int_within(argv[4], "deliveries", 0)
    available_ms = parse_int_within(argv[5], "available-milliseconds", 0)
    stream, group = get_group(ctx, argv[1], argv[2])
    entry_id = parse_id(argv[3])
    if stream.get(entry_id) is None:
        return ZERO
    group.release(entry_id, deliveries, available_ms)
    ctx.db.noted(argv[1], "xnack")
    tell_released(ctx.db, argv[1], group, entry_id)
    ctx.engine.blocking.touched(ctx.db.index, argv[1])
    return ONE


# -- XGROUP ------------------------------------------------------------------------------------

_XGROUP = container(
    "XGROUP",
    group="stream",
    since="5.0.0",
    arity=-2,
    summary="A container for consumer groups commands",
    complexity="Depends on subcommand.",
)


def _find(ctx: Context, argv: list[bytes]) -> Stream:
    """The stream that XGROUP names, which must be there."""
    stream = write_value(ctx, argv[2], Stream)
    if stream is None:
        raise CommandError(_NO_KEY)
    return stream


def _find_group(ctx: Context, argv: list[bytes]) -> tuple[Stream, Group]:
    stream = _find(ctx, argv)
    group = stream.groups.get(argv[3])
    if group is None:
        raise no_group_in_stream(argv[2], argv[3])
    return stream, group


def _parse_options(argv: list[bytes], *, can_create: bool) -> tuple[int, bool]:
    """ENTRIESREAD and MKSTREAM."""
    entries_read = NOT_READ
    creates = False
    args = Args(argv, 5)
    while args:
        word = args.take_word()
        if word == b"MKSTREAM" and can_create:
            creates = True
        elif word == b"ENTRIESREAD" and args:
            entries_read = args.take_int()
            if entries_read < NOT_READ:
                raise CommandError("value for ENTRIESREAD must be positive or -1")
        else:
            raise subcommand_syntax(argv)
    return entries_read, creates


@command(
    "XGROUP|CREATE",
    group="stream",
    since="5.0.0",
    arity=-5,
    summary="Create a consumer group.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(begin=2, flags=("RW", "INSERT")),),
    args=(
        key(),
        string("groupname"),
        oneof("id", string("id"), token("$", "new_id")),
        token("MKSTREAM", optional=True),
        integer("entries_read", token="ENTRIESREAD", optional=True),
    ),
    reply=OK_REPLY,
    acl_categories=("stream",),
    history=(("7.0.0", "Added the `entries_read` named argument."),),
)
def xgroup_create(ctx: Context, argv: list[bytes]) -> Reply:
    """XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]"""
    entries_read, creates = _parse_options(argv, can_create=True)
    stream = write_value(ctx, argv[2], Stream) if creates else _find(ctx, argv)
    newest_id = 0 if stream is None else stream.last_id
    last_id = newest_id if argv[4] == b"$" else parse_id(argv[4])
    if stream is None:
        stream = new_stream(ctx)
        ctx.db.assign(argv[2], stream, ctx.now_ms)
        ctx.db.changed(argv[2], "xgroup-create")
    elif argv[3] in stream.groups:
        raise BusyGroupError("Consumer Group name already exists")
    else:
        ctx.db.noted(argv[2], "xgroup-create")
    stream.groups[argv[3]] = Group(last_id, entries_read)
    return OK


@command(
    "XGROUP|SETID",
    group="stream",
    since="5.0.0",
    arity=-5,
    summary="Set a consumer group to an arbitrary last delivered ID value.",
    complexity="O(1)",
    flags=Flag.WRITE,
    keys=(Keys(begin=2, flags=("RW", "UPDATE")),),
    args=(
        key(),
        string("groupname"),
        oneof("id", string("id"), token("$", "new_id")),
        integer("entries_read", token="ENTRIESREAD", optional=True),
    ),
    reply=OK_REPLY,
    acl_categories=("stream",),
    history=(("7.0.0", "Added the optional `entries_read` argument."),),
)
def xgroup_setid(ctx: Context, argv: list[bytes]) -> Reply:
    """XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]"""
    entries_read, _ = _parse_options(argv, can_create=False)
    stream, group = _find_group(ctx, argv)
    group.last_id = stream.last_id if argv[4] == b"$" else parse_id(argv[4])
    group.entries_read = entries_read
    ctx.db.noted(argv[2], "xgroup-setid")
    ctx.engine.blocking.touched(ctx.db.index, argv[2])
    return OK


@command(
    "XGROUP|DESTROY",
    group="stream",
    since="5.0.0",
    arity=4,
    summary="Destroy a consumer group.",
    complexity="O(N) where N is the number of entries in the group's pending entries list (PEL).",
    flags=Flag.WRITE,
    keys=(Keys(begin=2, flags=("RW", "DELETE")),),
    args=(key(), string("groupname")),
    reply=IntegerReply(0, 1),
    acl_categories=("stream",),
)
def xgroup_destroy(ctx: Context, argv: list[bytes]) -> Reply:
    """XGROUP DESTROY key group"""
    stream = _find(ctx, argv)
    if stream.groups.pop(argv[3], None) is None:
        return ZERO
    ctx.db.noted(argv[2], "xgroup-destroy")
    ctx.engine.blocking.touched(ctx.db.index, argv[2])  # who waits for the group waits in vain
    return ONE


@command(
    "XGROUP|CREATECONSUMER",
    group="stream",
    since="6.2.0",
    arity=5,
    summary="Create a consumer in a consumer group.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(begin=2, flags=("RW", "INSERT")),),
    args=(key(), string("groupname"), string("consumername")),
    reply=IntegerReply(0, 1),
    acl_categories=("stream",),
)
def xgroup_createconsumer(ctx: Context, argv: list[bytes]) -> Reply:
    """XGROUP CREATECONSUMER key group consumer"""
    _, group = _find_group(ctx, argv)
    if argv[4] in group.consumers:
        return ZERO
    group.create_consumer(argv[4], ctx.now_ms)
    ctx.db.noted(argv[2], "xgroup-createconsumer")
    return ONE


@command(
    "XGROUP|DELCONSUMER",
    group="stream",
    since="5.0.0",
    arity=5,
    summary="Delete a consumer from a consumer group.",
    complexity="O(1)",
    flags=Flag.WRITE,
    keys=(Keys(begin=2, flags=("RW", "DELETE")),),
    args=(key(), string("groupname"), string("consumername")),
    reply=IntegerReply(0),
    acl_categories=("stream",),
)
def xgroup_delconsumer(ctx: Context, argv: list[bytes]) -> Reply:
    """XGROUP DELCONSUMER key group consumer: how many entries were pending with it"""
    _, group = _find_group(ctx, argv)
    pending = group.delete_consumer(argv[4])
    if pending is None:
        return ZERO
    ctx.db.noted(argv[2], "xgroup-delconsumer")
    return pending


@command(
    "XGROUP|POLICY",
    group="stream",
    since="0.1.0",
    arity=-4,
    summary="Set what the server does with entries of a group that are not acknowledged.",
    complexity="O(1)",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(begin=2, flags=("RW", "UPDATE")),),
    args=(
        key(),
        string("groupname"),
        integer("visibility-milliseconds", token="VISIBILITY", optional=True),
        block(
            "limit",
            integer("deliveries", token="MAXDELIVER"),
            string("dead-stream", token="DEAD"),
            optional=True,
        ),
        block(
            "backoff",
            integer("base-milliseconds"),
            integer("max-milliseconds"),
            token="BACKOFF",
            optional=True,
        ),
    ),
    reply=OK_REPLY,
    acl_categories=("stream",),
)
def xgroup_policy(ctx: Context, argv: list[bytes]) -> Reply:
    """XGROUP POLICY key group [VISIBILITY ms] [MAXDELIVER n DEAD stream] [BACKOFF base max]"""
    policy = _parse_policy(argv)
    stream, group = _find_group(ctx, argv)
    if policy is not None and policy.deliveries_max:
        if policy.dead == argv[2]:
            raise CommandError("DEAD must be another stream than the one it is for")
        read_value(ctx, policy.dead, Stream)  # WrongTypeError
    group.policy = policy
    ctx.db.dirty += 1
    ctx.engine.stream_policies.apply(ctx.db, argv[2], stream, group, ctx.now_ms)
    return OK


def _parse_policy(argv: list[bytes]) -> Policy | None:
    visibility_ms: int | None = None
    deliveries_max = backoff_ms = backoff_max_ms = 0
    dead: bytes | None = None
    args = Args(argv, 4)
    if not args:
        return None
    while args:
        word = args.take_word()
        if word == b"VISIBILITY" and args and visibility_ms is None:
            visibility_ms = args.take_int_within("VISIBILITY", 1, _POLICY_MS_MAX)
        elif word == b"MAXDELIVER" and args and not deliveries_max:
            deliveries_max = args.take_int_within("MAXDELIVER", 1, DELIVERIES_MAX)
        elif word == b"DEAD" and args and dead is None:
            dead = args.take()
        elif word == b"BACKOFF" and len(args) >= 2 and not backoff_ms:
            backoff_ms = args.take_int_within("BACKOFF base", 1, _POLICY_MS_MAX)
            text = args.take()
            backoff_max_ms = parse_int_within(text, "BACKOFF max", backoff_ms, _POLICY_MS_MAX)
        else:
            raise subcommand_syntax(argv)
    if (dead is None) != (deliveries_max == 0):
        raise CommandError("MAXDELIVER and DEAD must be given together")
    if visibility_ms is None:
        visibility_ms = VISIBILITY_MS if deliveries_max else 0
    return Policy(visibility_ms, deliveries_max, dead or b"", backoff_ms, backoff_max_ms)


@command(
    "XGROUP|HELP",
    group="stream",
    since="5.0.0",
    arity=2,
    summary="Show helpful text about the different subcommands",
    complexity="O(1)",
    flags=Flag.LOADING | Flag.STALE,
    reply=ArrayReply(SimpleReply(None)),
    acl_categories=("stream",),
)
def xgroup_help(ctx: Context, argv: list[bytes]) -> Reply:
    """XGROUP HELP"""
    return [Simple(line) for line in _HELP]


SPECS = specs_of(
    xack,
    xackdel,
    xnack,
    xrelease,
    _XGROUP,
    xgroup_create,
    xgroup_setid,
    xgroup_destroy,
    xgroup_createconsumer,
    xgroup_delconsumer,
    xgroup_policy,
    xgroup_help,
)
