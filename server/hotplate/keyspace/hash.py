"""The value of a hash: fields, their values, and when fields expire.

    table       field -> value: a dict, a ShardedDict beyond SPREAD_FROM fields
    deadlines   field -> Unix ms, only once a field has been given a time
    first_ms    no field is due before it; may be too early, NEVER_MS without times

The encoding is a name we keep, not what we do: `listpack` until a limit is passed, `listpackex`
instead once a field has been given a time, `hashtable` after a limit was passed; never back.

A field whose time is past stays until `expire_fields` or `expire_named` is called; whoever asks
calls one of them first where `first_ms` is past. The attributes are public because hot handlers
read them in place.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import ClassVar, Final

from hotplate.keyspace.deadlines import NEVER_MS, Deadlines
from hotplate.keyspace.sharded import SPREAD_FROM, ShardedDict, Table, random_key, shed_entries

LISTPACK: Final = b"listpack"
LISTPACK_WITH_TIMES: Final = b"listpackex"
HASHTABLE: Final = b"hashtable"
NAMES_MAX: Final = 8192  # field names remembered for sharing; then all are forgotten at once

_OBJECT_BYTES: Final = 150  # of the hash itself and an empty dict
_ENTRY_BYTES: Final = 72  # of a place in the dict and the head of a value
_FIELD_BYTES: Final = 40  # of the head of a field that no other hash shares
_TIME_BYTES: Final = 240  # of a field's time: dict and heap


class Hash:
    """Fields and values, both bytes."""

    __slots__ = ("deadlines", "first_ms", "name", "table")

    type_name: ClassVar[bytes] = b"hash"

    def __init__(self) -> None:
        self.table: Table[bytes] = {}
        self.deadlines: Deadlines | None = None
        self.first_ms = NEVER_MS
        self.name = LISTPACK

    def __len__(self) -> int:
        return len(self.table)

    def encoding(self) -> bytes:
        """The name that OBJECT ENCODING shows."""
        return self.name

    # -- fields ----------------------------------------------------------------------------------

    def put(self, field: bytes, value: bytes, names: dict[bytes, bytes]) -> bool:
        """Set a field, which then has no time; whether it is new.

        `names` are field names seen before: a small hash keeps the object that is there already.
        """
        table = self.table
        if field in table:
            table[field] = value
            if self.deadlines is not None:
                self.deadlines.discard(field)
            return False
        if len(table) >= SPREAD_FROM:
            if isinstance(table, dict):
                self.table = table = ShardedDict(table)
        elif self.name is not HASHTABLE:
            if len(names) >= NAMES_MAX:
                names.clear()
            field = names.setdefault(field, field)
        table[field] = value
        return True

    def put_many(self, parts: Sequence[bytes], names: dict[bytes, bytes]) -> int:
        """Set fields given as field, value, field ...; how many are new."""
        table = self.table
        before = len(table)
        pairs = iter(parts)
        if (
            self.deadlines is not None
            or self.name is HASHTABLE
            or len(names) + before + len(parts) > NAMES_MAX
        ):
            put = self.put
            for field in pairs:
                put(field, next(pairs), names)
        else:
            shared = names.setdefault
            for field in pairs:
                table[shared(field, field)] = next(pairs)
        return len(self.table) - before

    def remove(self, field: bytes) -> bool:
        """Remove a field; whether it was there."""
        if self.table.pop(field, None) is None:
            return False
        if self.deadlines is not None:
            self.deadlines.discard(field)
        return True

    # -- times -----------------------------------------------------------------------------------

    def deadline(self, field: bytes) -> int | None:
        """When a field expires; None: never."""
        return None if self.deadlines is None else self.deadlines.get(field)

    def set_deadline(self, field: bytes, expire_at_ms: int) -> None:
        """Let a field that is there expire at a time."""
        if self.deadlines is None:
            self.deadlines = Deadlines()
            if self.name is LISTPACK:
                self.name = LISTPACK_WITH_TIMES
        self.deadlines.set(field, expire_at_ms)
        self.first_ms = self.deadlines.first_ms

    def persist(self, field: bytes) -> bool:
        """Let a field expire never; whether it would have."""
        return self.deadlines is not None and self.deadlines.discard(field)

    def expire_fields(self, now_ms: int, limit: int) -> list[bytes]:
        """Remove at most `limit` fields whose time is past, and answer which."""
        if self.deadlines is None:
            return []
        due = self.deadlines.pop_due(now_ms, limit)
        self.first_ms = self.deadlines.first_ms
        for field in due:
            del self.table[field]
        return due

    def expire_named(self, now_ms: int, fields: Iterable[bytes]) -> list[bytes]:
        """Remove those of `fields` whose time is past, and answer which."""
        due: list[bytes] = []
        if self.deadlines is not None:
            for field in fields:
                expire_at_ms = self.deadlines.get(field)
                if expire_at_ms is not None and expire_at_ms < now_ms:
                    self.remove(field)
                    due.append(field)
        return due

    # -- the whole -------------------------------------------------------------------------------

    def random_field(self, rng: Random) -> bytes:
        """Any field, all equally likely."""
        return random_key(self.table, rng)

    def copy(self) -> "Hash":
        """An equal hash, times included."""
        other = Hash()
        other.table = self.table.copy()
        other.name = self.name
        if self.deadlines is not None:
            other.deadlines = self.deadlines.copy()
            other.first_ms = self.first_ms
        return other

    def shed(self, count: int) -> None:
        """Forget about `count` fields, any of them; for a hash that is no key's any more."""
        shed_entries(self.table, count)
        if self.deadlines is not None:
            self.deadlines.shed(count)

    def sample_bytes(self, samples: int) -> int:
        """The memory in use, judged by the first `samples` fields (0: by all).

        A small hash shares its fields' names with others: they do not count.
        """
        count = len(self.table)
        size = sampled = 0
        name_bytes = 0 if self.name is LISTPACK else _FIELD_BYTES
        for field, value in self.table.items():
            size += _ENTRY_BYTES + len(value) + (name_bytes and name_bytes + len(field))
            sampled += 1
            if sampled == samples:
                break
        times = 0 if self.deadlines is None else len(self.deadlines) * _TIME_BYTES
        return _OBJECT_BYTES + times + (size * count // sampled if sampled else 0)
