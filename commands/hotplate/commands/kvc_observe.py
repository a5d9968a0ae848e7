"""KVC.STATS: what the KV cache holds and how it is used."""

from typing import TYPE_CHECKING, Any

from hotplate.commands.kvc_arguments import SINCE, cache_of, parse_text
from hotplate.kvc.model import Group, Instance, Storage
from hotplate.resp.types import Double, Map, Reply
from hotplate.spec.args import syntax_error
from hotplate.spec.model import Flag, command, oneof, specs_of, string
from hotplate.spec.reply import AnyReply, MapReply

if TYPE_CHECKING:
    from hotplate.engine.context import Context


@command(
    "KVC.STATS",
    group="kvc",
    since=SINCE,
    arity=-1,
    flags=Flag.READONLY,
    summary="Figures of the KV cache, or of one instance, group or storage.",
    complexity="O(N), N being the number of instances.",
    args=(
        oneof(
            "of",
            string("instance", token="INSTANCE"),
            string("group", token="GROUP"),
            string("storage", token="STORAGE"),
            optional=True,
        ),
    ),
    reply=MapReply(AnyReply()),
)
def kvc_stats(ctx: "Context", argv: list[bytes]) -> Reply:
    """Counters count from the start of the server."""
    cache = cache_of(ctx)
    catalog = cache.catalog
    of: Instance | Group | Storage | None = None
    if len(argv) == 3:
        word = argv[1].upper()
        if word == b"INSTANCE":
            of = catalog.get_instance(argv[2])
        elif word == b"GROUP":
            of = catalog.get_group(parse_text(argv[2], "group name"))
        elif word == b"STORAGE":
            of = catalog.get_storage(parse_text(argv[2], "storage name"))
        else:
            raise syntax_error()
    elif len(argv) != 1:
        raise syntax_error()
    return figures_reply(cache.stats(of))


def figures_reply(value: Any) -> Reply:
    """Figures as the cache gives them (text keys, numbers, nested) as a reply."""
    if isinstance(value, dict):
        return Map({str(name).encode(): figures_reply(item) for name, item in value.items()})
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return Double(value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list | tuple):
        return [figures_reply(item) for item in value]
    return value


SPECS = specs_of(kvc_stats)
