"""Removing entries from streams: XTRIM, XDEL, XDELEX, and what XADD and XACKDEL share with them."""

from typing import Final

from hotplate.commands.stream_arguments import (
    IDS_ARG,
    OUTCOMES_REPLY,
    REFERENCE_WORDS,
    REFERENCES_ARG,
    TrimReader,
    parse_ids,
    take_ids,
)
from hotplate.commands.values import write_value
from hotplate.engine.context import Context
from hotplate.keyspace.stream import (
    ACKNOWLEDGED_ONLY,
    DELETE_REFERENCES,
    KEEP_REFERENCES,
    Stream,
    Trim,
)
from hotplate.keyspace.stream_entry import format_id
from hotplate.resp.types import ZERO, Reply
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.model import (
    Arg,
    Flag,
    Keys,
    block,
    command,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import IntegerReply

_GONE: Final = -1  # there is no such entry
_DELETED: Final = 1
_KEPT: Final = 2  # it is still referred to


def trim_arg(*, optional: bool, references: bool) -> Arg:
    """MAXLEN and MINID as COMMAND DOCS tells them."""
    inner = (
        oneof("strategy", token("MAXLEN"), token("MINID", since="6.2.0")),
        oneof("operator", token("=", "equal"), token("~", "approximately"), optional=True),
        string("threshold"),
        integer("count", token="LIMIT", optional=True, since="6.2.0"),
        *((REFERENCES_ARG,) if references else ()),
    )
    return block("trim", *inner, optional=optional)


@command(
    "XTRIM",
    group="stream",
    since="5.0.0",
    arity=-4,
    summary="Trims the stream to (approximately if '~' is passed) a certain size",
    complexity="O(N), with N being the number of evicted entries. Constant times are very small"
    " however, since entries are organized in macro nodes containing multiple entries that can be"
    " released with a single deallocation.",
    flags=Flag.WRITE,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), trim_arg(optional=False, references=True)),
    reply=IntegerReply(0),
    acl_categories=("stream",),
    tips=("nondeterministic_output",),
    history=(
        ("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option."),
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
    ),
)
def xtrim(ctx: Context, argv: list[bytes]) -> Reply:
    """XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]"""
    reader = TrimReader()
    args = Args(argv, 2)
    while args:
        if not reader.take(args.take_word(), args):
            raise syntax_error()
    trim = reader.finish(is_needed=True)
    assert trim is not None
    stream = write_value(ctx, argv[1], Stream)
    if stream is None:
        return ZERO
    return trim_stream(ctx, argv[1], stream, trim)


def trim_stream(ctx: Context, key: bytes, stream: Stream, trim: Trim) -> int:
    """Trim, and tell if anything went; how many entries."""
    journal = ctx.db.journal
    removed: list[int] = []
    deleted = stream.trim(trim, removed)
    if removed and journal is not None and trim.approximate:
        # which ones went depends on where the last trimming ended
        journal.note(ctx.db.index, b"XDEL", key, *map(format_id, removed))
    if deleted:
        ctx.db.changed(key, "xtrim")
    return deleted


@command(
    "XDEL",
    group="stream",
    since="5.0.0",
    arity=-3,
    summary="Removes the specified entries from the stream. Returns the number of items actually"
    " deleted, that may be different from the number of IDs passed in case certain IDs do not"
    " exist.",
    complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), string("id", multiple=True)),
    reply=IntegerReply(0),
    acl_categories=("stream",),
)
def xdel(ctx: Context, argv: list[bytes]) -> Reply:
    """XDEL key id [id ...]"""
    stream = write_value(ctx, argv[1], Stream)
    if stream is None:
        return ZERO
    ids = parse_ids(argv[2:])
    deleted = sum(stream.delete(entry_id) for entry_id in ids)
    if deleted:
        ctx.db.changed(argv[1], "xdel")
    return deleted


@command(
    "XDELEX",
    group="stream",
    since="8.2.0",
    arity=-5,
    summary="Deletes one or multiple entries from the stream.",
    complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
    flags=Flag.WRITE | Flag.FAST,
    keys=(Keys(flags=("RW", "DELETE")),),
    args=(key(), REFERENCES_ARG, IDS_ARG),
    reply=OUTCOMES_REPLY,
    acl_categories=("stream",),
)
def xdelex(ctx: Context, argv: list[bytes]) -> Reply:
    """XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]"""
    references, texts = parse_references_and_ids(argv, 2)
    ids = parse_ids(texts)
    stream = write_value(ctx, argv[1], Stream)
    if stream is None:
        return [_GONE] * len(ids)
    outcomes = [
        _KEPT
        if references == ACKNOWLEDGED_ONLY and not stream.groups and stream.get(entry_id)
        else delete_entry(stream, entry_id, references)
        for entry_id in ids
    ]
    if _DELETED in outcomes:
        ctx.db.changed(argv[1], "xdel")
    return outcomes


def parse_references_and_ids(argv: list[bytes], start: int) -> tuple[bytes, list[bytes]]:
    """[KEEPREF | DELREF | ACKED] IDS numids id [id ...], in any order."""
    references: bytes | None = None
    texts: list[bytes] | None = None
    args = Args(argv, start)
    while args:
        word = args.take_word()
        if word in REFERENCE_WORDS and references is None:
            references = word
        elif word == b"IDS" and texts is None:
            texts = take_ids(args)
        else:
            raise syntax_error()
    if texts is None:
        raise syntax_error()
    return references or KEEP_REFERENCES, texts


def delete_entry(stream: Stream, entry_id: int, references: bytes) -> int:
    """Delete an entry as far as it may be; the code that XDELEX and XACKDEL answer."""
    if references == ACKNOWLEDGED_ONLY and stream.is_referenced(entry_id):
        return _GONE if stream.get(entry_id) is None else _KEPT
    if references == DELETE_REFERENCES:
        for group in stream.groups.values():
            group.forget((entry_id,))
    return _DELETED if stream.delete(entry_id) else _GONE


SPECS = specs_of(xtrim, xdel, xdelex)
