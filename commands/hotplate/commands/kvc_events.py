"""What the KVC commands write as events; docs/observability.md lists the fields.

Called only while events are on. The form of an entry is the engine's (engine/kvc_events.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hotplate.commands.kvc_arguments import Mask
from hotplate.engine.kvc_events import finish_fields, key_fields, mask_value
from hotplate.kvc.answers import Mode
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import Instance
from hotplate.kvc.write_session import Outcome, WriteSession, chosen
from hotplate.wire.events import pack_list

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_QUERY_TYPES: Final = {
    Mode.PREFIX: b"prefix_match",
    Mode.EXACT: b"batch_get",
    Mode.WINDOW: b"reverse_roll_sw_match",
}
_BITS: Final = bytes.maketrans(b"\0\1", b"01")


def _tokens_of(argv: Sequence[Any], keys_at: int) -> bytes | None:
    """The tokens, if the keys were given as such."""
    return bytes(argv[keys_at + 1]) if bytes(argv[keys_at]).upper() == b"TOKENS" else None


def _mask_field(mask: Mask | None) -> list[bytes]:
    if mask is None:
        return [b"block_mask", b"0"]
    return [b"block_mask", b"%d" % mask.skip if mask.bits is None else mask_value(mask.bits)]


def tell_lookup(
    ctx: "Context", instance: Instance, argv: Sequence[Any], query: Any, matched: int
) -> None:
    """GETLOC. `query` holds its options, with the keys as they were given."""
    names = [instance.specs[number].name for number in instance.numbers_in(query.specs)]
    fields = [
        *(b"query_type", _QUERY_TYPES[query.mode]),
        *key_fields(query.keys.listing(), _tokens_of(argv, query.keys_at)),
        *_mask_field(query.mask),
        *(b"sw_size", b"%d" % query.window),
        *(b"location_spec_names", pack_list(names)),
        *(b"touch", b"%d" % query.touch),
        *(b"matched", b"%d" % matched),
    ]
    ctx.engine.kvc_events.write(instance, b"GetCacheLocation", fields)


def tell_start(
    ctx: "Context",
    instance: Instance,
    argv: Sequence[Any],
    write: Any,
    answer: tuple[bytes | None, bytes, Keys],
) -> None:
    """STARTWRITE. `write` holds its options, `answer` session, mask and keys."""
    session_id, mask, keys = answer
    fields = [
        *(b"write_session_id", session_id or b""),
        *key_fields(keys.listing(), _tokens_of(argv, write.keys_at)),
        *(b"block_mask", mask_value(mask)),
        *(b"location_spec_group_names", pack_list(write.groups or [])),
        *(b"write_timeout_seconds", b"%d" % (write.timeout_ms // 1000)),
    ]
    ctx.engine.kvc_events.write(instance, b"StartWriteCache", fields)


def tell_finish(
    ctx: "Context", instance: Instance, session: WriteSession, outcome: Outcome
) -> None:
    """FINISH of a session that was open."""
    bits = chosen(outcome, session.new_count, session.positions, session.given)
    fields = finish_fields(session.id, mask_value(bits.translate(_BITS)))
    ctx.engine.kvc_events.write(instance, b"FinishWriteCache", fields)


def tell_put(ctx: "Context", instance: Instance, keys: Keys, stored: int) -> None:
    """PUT: it stored so many of the keys."""
    fields = [*key_fields(keys.listing(), None), b"stored", b"%d" % stored]
    ctx.engine.kvc_events.write(instance, b"PutCache", fields)


def tell_remove(
    ctx: "Context",
    instance: Instance,
    keys: Keys,
    mask: Mask,
    given: tuple[Sequence[Any], int, int],
) -> None:
    """REMOVE. `given`: argv, where its keys stand, and how many blocks were removed."""
    argv, keys_at, removed = given
    fields = [*key_fields(keys.listing(), _tokens_of(argv, keys_at)), *_mask_field(mask)]
    ctx.engine.kvc_events.write(instance, b"RemoveCache", [*fields, b"removed", b"%d" % removed])


def tell_trim(ctx: "Context", instance: Instance, argv: Sequence[bytes], trimmed: int) -> None:
    """TRIM."""
    fields = [
        *(b"strategy", bytes(argv[2]).upper()),
        *(b"arguments", pack_list([int(text) for text in argv[3:]])),
        *(b"trimmed", b"%d" % trimmed),
    ]
    ctx.engine.kvc_events.write(instance, b"TrimCache", fields)
