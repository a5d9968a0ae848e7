"""The stream: entries in order of their ids, and the consumer groups that read them.

    starts    [id,      id,      id ...]     the first id that chunk i had
    ids       [[...],   [...],   [...]]      ascending; at most CHUNK_ENTRIES ever went into one
    frames    [[...],   [...],   [...]]      the entries, as stream_entry keeps them

Appending costs O(1); finding, deleting, and the ends of a range O(log n + CHUNK_ENTRIES). A chunk
is what approximate trimming removes whole. A stream may be empty and stay, as in Redis: its groups
and its last id outlive the entries.

Beside the bytes of its fields an entry takes some 145 bytes (Redis: 20), a pending one 104 (Redis:
138); tests.tools.stream_memory measures it.

It knows no key, no client and no clock.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from hotplate.keyspace.stream_entry import ID_MAX, SEQUENCE_BITS
from hotplate.keyspace.stream_group import NOT_READ, Group
from hotplate.keyspace.stream_producers import Producers

CHUNK_ENTRIES: Final = 100  # stream-node-max-entries of Redis
KEEP_REFERENCES: Final = b"KEEPREF"
DELETE_REFERENCES: Final = b"DELREF"
ACKNOWLEDGED_ONLY: Final = b"ACKED"
_EXAMINED_MIN: Final = 100  # entries that approximate ACKED trimming looks at in one go
_ENTRY_OVERHEAD_BYTES: Final = 33 + 48 + 16  # of the bytes object, the id, and two places in lists
_PENDING_BYTES: Final = 240  # in the maps of group and consumer


@dataclass(slots=True)
class Trim:
    """Which entries go: the oldest beyond `length_max`, or those with ids below `min_id`."""

    length_max: int | None = None
    min_id: int = 0
    approximate: bool = False
    limit: int = 0  # of entries, 0: none
    references: bytes = KEEP_REFERENCES


class Stream:
    """The value of a key of type stream."""

    __slots__ = (
        "_frames",
        "_ids",
        "_length",
        "_room",
        "_starts",
        "_trim_from",
        "entries_added",
        "groups",
        "last_id",
        "max_deleted_id",
        "producers",
    )
    type_name: ClassVar[bytes] = b"stream"

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ids: list[list[int]] = []
        self._frames: list[list[bytes]] = []
        self._room = 0  # entries that the last chunk still takes
        self._length = 0
        self._trim_from = 0  # where approximate ACKED trimming goes on
        self.last_id = 0  # ever added
        self.max_deleted_id = 0
        self.entries_added = 0
        self.groups: dict[bytes, Group] = {}
        self.producers: Producers | None = None

    def __len__(self) -> int:
        return self._length

    def encoding(self) -> bytes:
        """The name that OBJECT ENCODING shows."""
        return b"stream"

    # -- entries -------------------------------------------------------------------------------

    def next_id(self, now_ms: int) -> int | None:
        """The id that `*` means now; None where the last possible one is taken."""
        if self.last_id == ID_MAX:
            return None
        return max(now_ms << SEQUENCE_BITS, self.last_id + 1)

    def append(self, entry_id: int, frame: bytes) -> None:
        """Add an entry; its id is greater than `last_id`."""
        if self._room:
            self._ids[-1].append(entry_id)
            self._frames[-1].append(frame)
            self._room -= 1
        else:
            self._starts.append(entry_id)
            self._ids.append([entry_id])
            self._frames.append([frame])
            self._room = CHUNK_ENTRIES - 1
        self._length += 1
        self.entries_added += 1
        self.last_id = entry_id

    @property
    def first_id(self) -> int:
        """Of the entries there are; 0 without any."""
        return self._ids[0][0] if self._length else 0

    @property
    def top_id(self) -> int:
        """The greatest id of the entries there are; 0 without any."""
        return self._ids[-1][-1] if self._length else 0

    @property
    def chunk_count(self) -> int:
        """What Redis calls nodes."""
        return len(self._starts)

    def get(self, entry_id: int) -> bytes | None:
        """The frame of an entry."""
        chunk = bisect_right(self._starts, entry_id) - 1
        if chunk >= 0:
            ids = self._ids[chunk]
            at = bisect_left(ids, entry_id)
            if at < len(ids) and ids[at] == entry_id:
                return self._frames[chunk][at]
        return None

    def delete(self, entry_id: int) -> bool:
        """Remove an entry, and remember that there was one; whether there was."""
        chunk = bisect_right(self._starts, entry_id) - 1
        if chunk < 0:
            return False
        ids = self._ids[chunk]
        at = bisect_left(ids, entry_id)
        if at == len(ids) or ids[at] != entry_id:
            return False
        self._remove(chunk, at)
        self.max_deleted_id = max(self.max_deleted_id, entry_id)
        return True

    def _remove(self, chunk: int, at: int) -> None:
        del self._ids[chunk][at]
        del self._frames[chunk][at]
        self._length -= 1
        if not self._ids[chunk]:
            self._drop_chunks(chunk, chunk + 1)

    def _drop_chunks(self, start: int, end: int) -> None:
        if end == len(self._starts):
            self._room = 0
        del self._starts[start:end]
        del self._ids[start:end]
        del self._frames[start:end]

    def between(self, start: int, end: int, count: int = 0) -> tuple[list[int], list[bytes]]:
        """Ids and frames from `start` to `end`, both included; at most `count`, 0: all."""
        ids: list[int] = []
        frames: list[bytes] = []
        for chunk in range(max(bisect_right(self._starts, start) - 1, 0), len(self._starts)):
            those = self._ids[chunk]
            low = bisect_left(those, start) if those[0] < start else 0
            high = len(those) if those[-1] <= end else bisect_right(those, end)
            is_last = high < len(those)
            if count and high - low >= count - len(ids):
                high = low + count - len(ids)
                is_last = True
            ids += those[low:high]
            frames += self._frames[chunk][low:high]
            if is_last:
                break
        return ids, frames

    def between_reversed(self, start: int, end: int, count: int = 0) -> list[bytes]:
        """Frames from `end` down to `start`; at most `count`, 0: all."""
        frames: list[bytes] = []
        for chunk in range(bisect_right(self._starts, end) - 1, -1, -1):
            those = self._ids[chunk]
            low = bisect_left(those, start) if those[0] < start else 0
            high = len(those) if those[-1] <= end else bisect_right(those, end)
            if count:
                low = max(low, high - count + len(frames))
            frames += self._frames[chunk][low:high][::-1]
            if low > 0 or (count and len(frames) >= count):
                break
        return frames

    # -- trimming ------------------------------------------------------------------------------

    def has_spare_chunk(self, length_max: int) -> bool:
        """Whether approximate trimming to a length would remove something."""
        return self._length > length_max and self._length - len(self._ids[0]) >= length_max

    def trim(self, rule: Trim, acknowledged: list[int] | None = None) -> int:
        """Remove the oldest entries as the rule says; how many.

        What ACKED removes is added to `acknowledged`: those need not be the oldest.
        """
        if self.groups and rule.references == ACKNOWLEDGED_ONLY:
            free = self._trim_acknowledged(rule)
            if acknowledged is not None:
                acknowledged += free
            return len(free)
        keeps_ids = bool(self.groups) and rule.references == DELETE_REFERENCES
        removed: list[int] = []
        deleted = chunk = 0
        while chunk < len(self._ids):
            ids = self._ids[chunk]
            if rule.limit and deleted + len(ids) > rule.limit:
                break
            if self._excess(ids, rule, deleted) < len(ids):
                break
            deleted += len(ids)
            chunk += 1
            if keeps_ids:
                removed += ids
        if chunk:
            self._drop_chunks(0, chunk)
            self._length -= deleted
        if self._ids and not rule.approximate:
            part = self._excess(self._ids[0], rule, 0)
            if keeps_ids:
                removed += self._ids[0][:part]
            del self._ids[0][:part]
            del self._frames[0][:part]
            self._length -= part
            deleted += part
        for group in self.groups.values() if removed else ():
            group.forget(removed)
        return deleted

    def _excess(self, ids: list[int], rule: Trim, deleted: int) -> int:
        """How many of a chunk's entries the rule removes, once `deleted` older ones are gone."""
        if rule.length_max is None:
            return len(ids) if ids[-1] < rule.min_id else bisect_left(ids, rule.min_id)
        return min(max(self._length - deleted - rule.length_max, 0), len(ids))

    def _trim_acknowledged(self, rule: Trim) -> list[int]:
        """Remove the oldest entries that no group waits for.

        Approximately: not all are looked at each time, but where the last time ended the next goes
        on, so that entries pending for long do not cost every XADD a walk over all of them.
        """
        wanted = self._length
        if rule.length_max is not None:
            wanted = self._length - rule.length_max
            if rule.approximate:
                wanted -= wanted % CHUNK_ENTRIES
        end = min(group.last_id for group in self.groups.values())
        if rule.length_max is None:
            end = min(end, rule.min_id - 1)
        if wanted <= 0:
            return []
        examined_max = 0
        start = 0
        if rule.approximate:
            examined_max = _EXAMINED_MIN + 10 * min(wanted, CHUNK_ENTRIES)
            if rule.limit:
                examined_max = min(examined_max, rule.limit)
                wanted = min(wanted, rule.limit)
            start = self._trim_from if self._trim_from <= end else 0
        free: list[int] = []
        self._trim_from = 0
        for examined, entry_id in enumerate(self._walk_ids(start, end)):
            if len(free) == wanted or examined == examined_max > 0:
                self._trim_from = entry_id if rule.approximate else 0
                break
            if not self._is_pending(entry_id):
                free.append(entry_id)
        for entry_id in free:
            chunk = bisect_right(self._starts, entry_id) - 1
            self._remove(chunk, bisect_left(self._ids[chunk], entry_id))
        return free

    def _walk_ids(self, start: int, end: int) -> Iterator[int]:
        for chunk in range(max(bisect_right(self._starts, start) - 1, 0), len(self._starts)):
            for entry_id in self._ids[chunk]:
                if entry_id > end:
                    return
                if entry_id >= start:
                    yield entry_id

    def is_referenced(self, entry_id: int) -> bool:
        """Whether a group has yet to deliver the entry, or to see it acknowledged."""
        return any(
            entry_id > group.last_id or group.pending.get(entry_id) is not None
            for group in self.groups.values()
        )

    def _is_pending(self, entry_id: int) -> bool:
        return any(group.pending.get(entry_id) is not None for group in self.groups.values())

    # -- how far groups have read --------------------------------------------------------------

    def note_read(self, group: Group, ids: list[int]) -> None:
        """The group reads `ids`, ascending, the entries that follow its last id."""
        if group.entries_read != NOT_READ and ids[0] > self.max_deleted_id:
            group.entries_read += len(ids)
        else:
            for entry_id in ids:
                self._note_one(group, entry_id)
        group.last_id = ids[-1]

    def _note_one(self, group: Group, entry_id: int) -> None:
        if group.entries_read != NOT_READ and not self.has_deleted_from(entry_id):
            group.entries_read += 1
        elif self.entries_added:
            group.entries_read = self.estimate_read(entry_id)

    def has_deleted_from(self, entry_id: int) -> bool:
        """Whether one of the entries from `entry_id` on was deleted, as far as is known."""
        return bool(self._length) and 0 < self.max_deleted_id >= entry_id

    def estimate_read(self, entry_id: int) -> int:
        """How many entries were ever added up to `entry_id`; NOT_READ where nothing tells."""
        if not self.entries_added:
            return 0
        if not self._length and entry_id <= self.last_id:
            return self.entries_added
        if 0 < entry_id < self.max_deleted_id:
            return NOT_READ
        if entry_id >= self.last_id:
            return self.entries_added if entry_id == self.last_id else NOT_READ
        first_id = self.first_id
        if self.max_deleted_id < first_id and entry_id <= first_id:
            return self.entries_added - self._length + (entry_id == first_id)
        return NOT_READ

    def lag_of(self, group: Group) -> int | None:
        """How many entries the group has yet to read; None where nothing tells."""
        if not self.entries_added:
            return 0
        read = group.entries_read
        if read == NOT_READ or self.has_deleted_from(group.last_id):
            read = self.estimate_read(group.last_id)
        return None if read == NOT_READ else self.entries_added - read

    # -- as a value ----------------------------------------------------------------------------

    def copy(self) -> "Stream":
        """An equal value that shares nothing that can change."""
        copied = Stream()
        copied._starts = self._starts.copy()
        copied._ids = [ids.copy() for ids in self._ids]
        copied._frames = [frames.copy() for frames in self._frames]
        copied._room = self._room
        copied._length = self._length
        copied.last_id = self.last_id
        copied.max_deleted_id = self.max_deleted_id
        copied.entries_added = self.entries_added
        copied.groups = {name: group.copy() for name, group in self.groups.items()}
        copied.producers = None if self.producers is None else self.producers.copy()
        return copied

    def shed(self, count: int) -> None:
        """Forget about `count` pending entries and entries, any of them, in time O(count)."""
        while self.groups and count > 0:
            name, group = self.groups.popitem()
            shed = group.shed(count)
            count -= shed
            if shed:
                self.groups[name] = group
        while self._starts and count > 0:
            count -= len(self._ids[-1])
            self._length -= len(self._ids[-1])
            self._drop_chunks(len(self._starts) - 1, len(self._starts))

    def sample_bytes(self, samples: int) -> int:
        """The memory in use, all of it, judged by at most `samples` entries (0: by every one)."""
        seen = size_bytes = 0
        for frame in self._some_frames():
            size_bytes += len(frame)
            seen += 1
            if seen == samples:
                break
        per_entry = size_bytes / seen + _ENTRY_OVERHEAD_BYTES if seen else 0
        pending = sum(len(group.pending) for group in self.groups.values())
        return int(per_entry * self._length) + pending * _PENDING_BYTES

    def _some_frames(self) -> Iterator[bytes]:
        for frames in self._frames:
            yield from frames
