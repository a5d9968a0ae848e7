"""SORT and SORT_RO: the elements of a collection in order, or what is looked up by them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.contents import elements_of, field_of, has_order, make_list
from hotplate.keyspace.entry import string_of
from hotplate.resp.types import Reply
from hotplate.spec.args import Args, read_float, syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    integer,
    key,
    oneof,
    pattern,
    specs_of,
    token,
)
from hotplate.spec.reply import ArrayReply, BulkReply, IntegerReply, NullReply, one_of

_ELEMENTS: Final = ArrayReply(one_of(BulkReply(), NullReply()))
_SPACES: Final = b" \t\n\v\f\r"
_COMPLEXITY: Final = (
    "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number"
    " of returned elements. When the elements are not sorted, complexity is O(N)."
)
_BY_GET_KEYS: Final = Keys(
    unknown=True,
    notes="For the optional BY/GET keyword. It is marked 'unknown' because the key names derive"
    " from the content of the key we sort",
)
_STORE_KEYS: Final = Keys(
    unknown=True,
    flags=("OW", "UPDATE"),
    notes="For the optional STORE keyword. It is marked 'unknown' because the keyword can appear"
    " anywhere in the argument array",
)
_ARGUMENTS: Final = (
    key(),
    pattern("pattern", token="BY", optional=True, key_spec_index=1),
    block("offset_count", integer("offset"), integer("count"), token="LIMIT", optional=True),
    pattern(
        "pattern", token="GET", optional=True, multiple=True, multiple_token=True, key_spec_index=1
    ),
    oneof("order", token("ASC"), token("DESC"), optional=True),
    token("ALPHA", "sorting", optional=True),
)
_FACTS: Final[dict[str, Any]] = {
    "group": "generic",
    "arity": -2,
    "complexity": _COMPLEXITY,
    "acl_categories": ("set", "sortedset", "list", "dangerous"),
}


@dataclass(slots=True)
class _Options:
    by: bytes | None = None
    gets: list[bytes] = field(default_factory=list)
    offset: int = 0
    count: int = -1
    descending: bool = False
    alpha: bool = False
    store: bytes | None = None

    @property
    def sorts(self) -> bool:
        """Whether there is an order beyond that of the collection itself."""
        return self.by is None or b"*" in self.by


def _parse_options(argv: list[bytes], *, may_store: bool) -> _Options:
    options = _Options()
    args = Args(argv, 2)
    while args:
        word = args.take_word()
        if word == b"ASC":
            options.descending = False
        elif word == b"DESC":
            options.descending = True
        elif word == b"ALPHA":
            options.alpha = True
        elif word == b"LIMIT" and len(args) >= 2:
            options.offset, options.count = args.take_int(), args.take_int()
        elif word == b"STORE" and may_store:
            options.store = args.take()
        elif word == b"BY":
            options.by = args.take()
        elif word == b"GET":
            options.gets.append(args.take())
        else:
            raise syntax_error()
    return options


def _lookup(ctx: Context, pattern: bytes) -> Callable[[bytes], bytes | None]:
    """What a BY or GET pattern finds for an element: a string, a hash's field, or nothing."""
    if pattern == b"#":
        return lambda element: element
    prefix, star, suffix = pattern.partition(b"*")
    if not star:
        return lambda element: None
    before_arrow, _, name = suffix.partition(b"->")
    if name:  # an arrow to nowhere is part of the key
        suffix = before_arrow

    def find(element: bytes) -> bytes | None:
        entry = read_entry(ctx, prefix + element + suffix)
        if entry is None:
            return None
        value = entry.value
        if name:
            return field_of(value, name, ctx.now_ms)
        return string_of(value) if isinstance(value, (bytes, int, bytearray)) else None

    return find


def _score(text: bytes | None) -> float:
    """A number as strtod reads it; none is 0, as is an empty text."""
    if not text:
        return 0.0
    text = text.lstrip(_SPACES) or text
    score = read_float(text.partition(b"\0")[0] or b"0")
    if score is None:
        raise CommandError("One or more scores can't be converted into double")
    return score


def _sorted(ctx: Context, elements: list[bytes], options: _Options) -> list[bytes]:
    weights: list[bytes | None] = list(elements)
    if options.by is not None:
        weights = list(map(_lookup(ctx, options.by), elements))
    keys: list[Any]
    if not options.alpha:
        keys = list(zip(map(_score, weights), elements, strict=True))
    elif options.by is None:
        keys = elements
    else:
        keys = [(weight is not None, weight or b"") for weight in weights]
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=options.descending)
    return [elements[index] for index in order]


def _select(ctx: Context, key: bytes, options: _Options) -> list[bytes]:
    """The elements that are asked for, in order."""
    entry = read_entry(ctx, key)
    if entry is None:
        return []
    elements = elements_of(entry.value)
    if options.sorts:
        elements = _sorted(ctx, elements, options)
    elif has_order(entry.value):
        if options.descending:
            elements.reverse()
    elif options.store is not None:  # what is stored must not depend on chance
        elements.sort(reverse=options.descending)
    start = max(options.offset, 0)
    return elements[start:] if options.count < 0 else elements[start : start + options.count]


def _values(ctx: Context, elements: list[bytes], gets: list[bytes]) -> list[bytes | None]:
    """What the GET patterns find for each element; without one, the elements."""
    if not gets:
        return list(elements)
    finds = [_lookup(ctx, pattern) for pattern in gets]
    return [find(element) for element in elements for find in finds]


def _store_position(argv: list[bytes]) -> list[int]:
    """Where the key of STORE stands; of several, the last counts."""
    found: list[int] = []
    at = 2
    while at < len(argv) - 1:
        word = argv[at].upper()
        if word == b"STORE":
            found = [at + 1]
        at += {b"LIMIT": 3, b"BY": 2, b"GET": 2}.get(word, 1)
    return found


@command(
    "SORT",
    since="1.0.0",
    summary="Sort the elements in a list, set or sorted set",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(), _BY_GET_KEYS, _STORE_KEYS),
    args=(*_ARGUMENTS, key("destination", index=2, token="STORE", optional=True)),
    reply=one_of(_ELEMENTS, IntegerReply(minimum=0)),
    get_keys=_store_position,
    **_FACTS,
)
def sort(ctx: Context, argv: list[bytes]) -> Reply:
    """SORT key [BY p] [LIMIT offset count] [GET p ...] [ASC | DESC] [ALPHA] [STORE key]"""
    options = _parse_options(argv, may_store=True)
    values = _values(ctx, _select(ctx, argv[1], options), options.gets)
    if options.store is None:
        return values
    db = ctx.db
    db.lookup_write(options.store, ctx.now_ms)  # a key whose time has come expires first
    if values:
        stored = make_list([value or b"" for value in values], ctx.engine.config)
        db.assign(options.store, stored, ctx.now_ms)
        db.changed(options.store, "sortstore")
    elif db.delete(options.store):
        db.changed(options.store, "del")
    return len(values)


@command(
    "SORT_RO",
    since="7.0.0",
    summary="Sort the elements in a list, set or sorted set. Read-only variant of SORT.",
    flags=Flag.READONLY,
    keys=(Keys(), _BY_GET_KEYS),
    args=_ARGUMENTS,
    reply=_ELEMENTS,
    **_FACTS,
)
def sort_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """SORT_RO key [BY p] [LIMIT offset count] [GET p ...] [ASC | DESC] [ALPHA]"""
    options = _parse_options(argv, may_store=False)
    return _values(ctx, _select(ctx, argv[1], options), options.gets)


SPECS = specs_of(sort, sort_ro)
