"""Events of the KV cache: what happened, as entries of the Stream `kvc:events:<instance>`.

Owns the form of an entry and where it goes; docs/observability.md describes both. Off (`on` is
False) they cost one test a call. Events are numbered for each instance; those that cannot be
stored, since the key holds something else or memory is full, are counted and their numbers missing.

It appends as XADD would: whoever waits for the key is served after the command that caused it.
"""

from collections.abc import Sequence
from struct import unpack
from typing import TYPE_CHECKING, Final

from hotplate.engine.context import Gate
from hotplate.keyspace.stream import Stream, Trim
from hotplate.keyspace.stream_entry import build_frame, format_id
from hotplate.kvc.departed import Reason
from hotplate.kvc.model import Instance
from hotplate.wire.events import pack_list

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

KEY_PREFIX: Final = b"kvc:events:"
_NOTHING: Final = pack_list([])
_COMPONENT: Final = b"kvcache"
_TYPES: Final = {Reason.EVICTED: b"CacheReclaimSubmit", Reason.EXPIRED: b"CacheExpire"}
_TOKEN_BYTES: Final = 4
_ONE: Final = ord("1")


class KvcEvents:
    """Writes events of one server's KV cache."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.on = False
        self.written = 0
        self.dropped = 0
        self._until_lookup = 0
        self._sequences: dict[int, int] = {}  # by instance number

    def configure(self) -> None:
        """Read the settings, and listen to the cache or not."""
        self.on = self._engine.config.kvc_events
        if not self.on:
            self._sequences.clear()
        if self._engine.kvc is not None:
            self._engine.kvc.listen(self if self.on else None)

    def wants_lookup(self) -> bool:
        """Whether the lookup that comes now is one of those to write."""
        if not self.on:
            return False
        every = self._engine.config.kvc_events_getloc_every
        if every == 0:
            return False
        self._until_lookup -= 1
        if self._until_lookup > 0:
            return False
        self._until_lookup = every
        return True

    def write(self, instance: Instance, kind: bytes, fields: Sequence[bytes]) -> None:
        """One event; `fields` are names and values in turn."""
        engine = self._engine
        sequence = self._sequences.get(instance.number, 0) + 1
        self._sequences[instance.number] = sequence
        now_ms = engine.now_ms
        database = engine.databases[0]
        key = KEY_PREFIX + instance.id
        entry = database.lookup_write(key, now_ms)
        stream = Stream() if entry is None else entry.value
        entry_id = stream.next_id(now_ms) if isinstance(stream, Stream) else None
        if entry_id is None or self._is_full():
            self.dropped += 1
            return
        assert isinstance(stream, Stream)
        journal = database.journal
        if journal is not None:
            journal.keep(database, key)
        if entry is None:
            database.assign(key, stream, now_ms)
        text = format_id(entry_id)
        self.written += 1
        head = [
            *(b"id", b"%b%016x" % (engine.run_id[:16].encode(), self.written + self.dropped)),
            *(b"sequence", b"%d" % sequence),
            *(b"source", instance.id),
            *(b"component", _COMPONENT),
            *(b"type", kind),
            *(b"trigger_time_us", b"%d" % (now_ms * 1000)),
        ]
        stream.append(entry_id, build_frame(text, [*head, *fields]))
        database.changed(key, "xadd")
        length_max = engine.config.kvc_events_maxlen
        if len(stream) > length_max and stream.trim(Trim(length_max)):
            database.changed(key, "xtrim")
        if journal is not None:
            limit = (b"MAXLEN", b"=", b"%d" % length_max)
            journal.note(database.index, b"XADD", key, *limit, text, *head, *fields)

    def _is_full(self) -> bool:
        """Whether memory has reached its limit and nothing may make room."""
        engine = self._engine
        return bool(engine.gates & Gate.FULL) and engine.memory.policy.scope == "noeviction"

    # what the cache does by itself

    def left(self, instance: Instance, reason: Reason, keys: list[bytes], delay_ms: int) -> None:
        """Blocks were evicted, or their time was over; their bytes go after a delay."""
        kind = _TYPES.get(reason)
        if kind is not None:
            delay_us = b"%d" % (delay_ms * 1000)
            self.write(instance, kind, [b"block_keys", pack_list(keys), b"delay_us", delay_us])

    def timed_out(self, instance: Instance, session_id: bytes) -> None:
        """A write session was dropped at its deadline."""
        self.write(instance, b"FinishWriteCache", finish_fields(session_id, b"0"))


def key_fields(keys: Sequence[bytes], tokens: bytes | None) -> list[bytes]:
    """`keys`, and `tokens` where the call gave these (little-endian uint32)."""
    packed_tokens = _NOTHING
    if tokens:
        count = len(tokens) // _TOKEN_BYTES
        packed_tokens = pack_list(unpack(f"<{count}I", tokens[: count * _TOKEN_BYTES]))
    return [b"keys", pack_list(keys), b"tokens", packed_tokens]


def mask_value(bits: bytes) -> bytes:
    """A mask of `0` and `1` as events have it: the number of leading ones, or booleans."""
    leading = len(bits) - len(bits.lstrip(b"1"))
    if b"1" not in bits[leading:]:
        return b"%d" % leading
    return pack_list([bit == _ONE for bit in bits])


def finish_fields(session_id: bytes, success_block: bytes) -> list[bytes]:
    """What FinishWriteCache says."""
    return [b"write_session_id", session_id, b"success_block", success_block]
