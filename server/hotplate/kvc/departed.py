"""Why blocks left: a bounded memory of the last ones, for EXPLAIN.

Owns no block. What leaves is written down as whole ranges of packed keys, never as an object a
block: a chunk holds keys of one width, one after the other, and a *mark* wherever the reason, its
detail or the time changes.

    keys    k0 k1 k2 k3 k4 k5 ...
    starts  0        3     5         index of the first key that a mark speaks of
    marks   m0       m1    m2        milliseconds << 16 | detail << 8 | reason

Writing costs one slice a range. Looking up scans the instance's keys, at most
`INSTANCE_BYTES_MAX` of them; the oldest are forgotten first. Refused writes are kept apart, whole
calls at a time.
"""

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from hotplate.kvc.keys import Keys
from hotplate.limits import EXPLAINED_CALL_BYTES_MAX, EXPLAINED_CALLS_MAX, EXPLAINED_KEY_BYTES_MAX

if TYPE_CHECKING:
    from hotplate.kvc.index import Index

_CHUNK_BYTES: Final = 1 << 16
_CHUNK_OVERHEAD_BYTES: Final = 400  # objects of an empty chunk
_MARK_BYTES: Final = 12
_FEW_KEYS: Final = 16  # so many are searched for one by one
_DETAIL_SHIFT: Final = 8
_TIME_SHIFT: Final = 16


class Reason(IntEnum):
    """Why a block is not there any more."""

    UNSAID = 0  # not to be written down
    REMOVED = 1
    TRIMMED = 2
    EXPIRED = 3
    EVICTED = 4  # detail: the number of the policy
    DROPPED = 5  # by FINISH
    TIMED_OUT = 6  # the session's deadline
    CORRUPT = 7
    STORAGE_REMOVED = 8


@dataclass(frozen=True, slots=True)
class Departure:
    """What is known of a key that left, or of a write of it that was refused (`refusal`)."""

    at_ms: int
    reason: Reason
    detail: int = 0
    refusal: str = ""


@dataclass(slots=True)
class _Refused:
    """A write that was refused: its keys, or the first of them."""

    at_ms: int
    width: int
    blob: bytes
    text: str


class _Chunk:
    """Keys of one width of one instance, in the order they left."""

    __slots__ = ("instance", "keys", "marks", "size_bytes", "starts", "width")

    def __init__(self, instance: int, width: int) -> None:
        self.instance = instance
        self.width = width
        self.keys = bytearray()
        self.starts = array("I")
        self.marks = array("Q")
        self.size_bytes = _CHUNK_OVERHEAD_BYTES  # an estimate

    def add(self, keys: bytes, mark: int) -> int:
        """Write keys down; by how much the estimate grew (a bytearray has an eighth to spare)."""
        grown = len(keys) + (len(keys) >> 3)
        if not self.marks or self.marks[-1] != mark:
            self.marks.append(mark)
            self.starts.append(len(self.keys) // self.width)
            grown += _MARK_BYTES
        self.keys += keys
        self.size_bytes += grown
        return grown

    def positions(self, wanted: set[bytes]) -> Iterator[tuple[int, bytes]]:
        """Where wanted keys stand."""
        keys, width = self.keys, self.width
        if len(wanted) > _FEW_KEYS:
            blob = bytes(keys)
            for start in range(0, len(blob), width):
                key = blob[start : start + width]
                if key in wanted:
                    yield start // width, key
            return
        for key in wanted:
            start = keys.find(key)
            while start >= 0:
                if start % width == 0:
                    yield start // width, key
                start = keys.find(key, start + 1)

    def mark_at(self, position: int) -> int:
        """The mark that speaks of a key."""
        return self.marks[bisect_right(self.starts, position) - 1]


class Departed:
    """The departures of all instances, within `bytes_max` in all."""

    __slots__ = ("_by_instance", "_order", "_refused", "bytes_max", "size_bytes")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.size_bytes = 0  # an estimate of the memory of it all
        self._order: deque[_Chunk] = deque()  # oldest first
        self._by_instance: dict[int, deque[_Chunk]] = {}
        self._refused: dict[int, deque[_Refused]] = {}

    # writing down

    def add(self, index: "Index", low: int, high: int, mark: int) -> None:
        """The blocks of the ids low..high-1 have left; their keys still stand in the columns."""
        number, width = index.instance.number, index.width
        if not index.odd_keys:
            self._append(number, width, bytes(index.keys[low * width : high * width]), mark)
            return
        for block in range(high - 1, low - 1, -1):
            key = index.key_of(block)
            self._append(number, len(key), key, mark)

    def _append(self, instance: int, width: int, blob: bytes, mark: int) -> None:
        """Keys of one width, in pieces that chunks can take."""
        chunks = self._by_instance.get(instance)
        if chunks is None:
            chunks = self._by_instance[instance] = deque()
        step = max(1, _CHUNK_BYTES // width) * width
        first = max(0, len(blob) - EXPLAINED_KEY_BYTES_MAX // width * width)
        for start in range(first, len(blob), step):
            if not chunks or chunks[-1].width != width or len(chunks[-1].keys) >= _CHUNK_BYTES:
                self._open(chunks, instance, width)
            self.size_bytes += chunks[-1].add(blob[start : start + step], mark)
        self._fit()

    def _open(self, chunks: deque[_Chunk], instance: int, width: int) -> None:
        while sum(len(chunk.keys) for chunk in chunks) >= EXPLAINED_KEY_BYTES_MAX:
            self._forget(chunks[0])
        chunk = _Chunk(instance, width)
        chunks.append(chunk)
        self._order.append(chunk)
        self.size_bytes += chunk.size_bytes

    def _forget(self, chunk: _Chunk) -> None:
        """The oldest chunk of its instance goes."""
        self._order.remove(chunk)
        self._by_instance[chunk.instance].popleft()
        self.size_bytes -= chunk.size_bytes

    def _fit(self) -> None:
        """Keep within `bytes_max`, the oldest going first."""
        while self.size_bytes > self.bytes_max and self._order:
            self._forget(self._order[0])
        if self.size_bytes > self.bytes_max:
            self.forget_all()

    def refuse(self, instance: int, keys: Keys, text: str, now_ms: int) -> None:
        """A write of these keys was refused. The same call again takes the place of the earlier."""
        width, blob = keys.width, keys.blob
        if width is None or not blob:  # keys of several widths: the first speaks for them
            if not len(keys):
                return
            blob = keys[0]
            width = len(blob)
        blob = blob[: EXPLAINED_CALL_BYTES_MAX // width * width]
        calls = self._refused.setdefault(instance, deque())
        if calls and calls[-1].blob == blob:
            calls[-1].at_ms, calls[-1].text = now_ms, text
            return
        calls.append(_Refused(now_ms, width, blob, text))
        self.size_bytes += len(blob) + _CHUNK_OVERHEAD_BYTES
        while len(calls) > EXPLAINED_CALLS_MAX:
            self.size_bytes -= len(calls.popleft().blob) + _CHUNK_OVERHEAD_BYTES
        self._fit()

    def forget_instance(self, instance: int) -> None:
        """An instance is gone."""
        for chunk in list(self._by_instance.get(instance, ())):
            self._forget(chunk)
        self._by_instance.pop(instance, None)
        for call in self._refused.pop(instance, ()):
            self.size_bytes -= len(call.blob) + _CHUNK_OVERHEAD_BYTES

    def forget_all(self) -> None:
        """Make room: explanations give way to blocks."""
        self._order.clear()
        self._by_instance.clear()
        self._refused.clear()
        self.size_bytes = 0

    # looking up

    def find(self, instance: int, keys: set[bytes]) -> dict[bytes, Departure]:
        """The latest departure of each key of which one is remembered."""
        by_width: dict[int, set[bytes]] = {}
        for key in keys:
            by_width.setdefault(len(key), set()).add(key)
        latest: dict[bytes, int] = {}
        for chunk in self._by_instance.get(instance, ()):
            wanted = by_width.get(chunk.width)
            if wanted:
                for position, key in chunk.positions(wanted):
                    mark = chunk.mark_at(position)
                    if mark >> _TIME_SHIFT >= latest.get(key, 0) >> _TIME_SHIFT:
                        latest[key] = mark
        return {key: departure_of(mark) for key, mark in latest.items()}

    def refusals(self, instance: int, keys: set[bytes]) -> dict[bytes, Departure]:
        """The latest refused write of each key of which one is remembered."""
        found: dict[bytes, Departure] = {}
        for call in self._refused.get(instance, ()):
            listed = Keys.packed(call.width, call.blob).listing()
            refusal = Departure(call.at_ms, Reason.UNSAID, refusal=call.text)
            found.update(dict.fromkeys(keys.intersection(listed), refusal))
        return found


def mark_of(reason: Reason, now_ms: int, detail: int = 0) -> int:
    """How a departure is written down."""
    return now_ms << _TIME_SHIFT | detail << _DETAIL_SHIFT | reason


def departure_of(mark: int) -> Departure:
    """What a mark says."""
    return Departure(mark >> _TIME_SHIFT, Reason(mark & 0xFF), mark >> _DETAIL_SHIFT & 0xFF)
