"""Lists: elements in order, pushed and popped at either end in O(1).

    head [≤ 128]   middle: deque of [128] [128] ...   tail [≤ 128]      head is tail: a short list

Every chunk between the two ends is full, so that an index is found by division; whatever inserts or
removes elsewhere passes elements on, chunk by chunk, to the nearer end. Only an empty list has an
empty chunk. Knows no key, no client and no setting: callers pass `fill`, list-max-listpack-size.

OBJECT ENCODING's name is kept track of as Redis does since 7.2: a `listpack` becomes a `quicklist`
when a change would make it larger than one node may be, and again a `listpack` when it has shrunk
to half of that. Its size in bytes is counted only while it may matter: not in long quicklists.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import ClassVar, Final

from hotplate.keyspace.entry import integer_of

CHUNK: Final = 128  # moving a chunk's elements by one costs less than what else a command does

_NODE_BYTES: Final = (4096, 8192, 16384, 32768, 65536)  # fill -1 to -5
_SAFE_BYTES: Final = 8192  # a node that is limited by a count is no larger
_EMPTY_BYTES: Final = 7  # of a listpack
_UNCOUNTED: Final = -1
_COUNTED_FROM: Final = 2048  # a quicklist that shrinks to so many elements is counted again
_COUNTED_MAX: Final = 4096  # one that grows beyond is not counted any more
_INTEGER_TEXT_MAX: Final = 20
_INTEGER_BYTES: Final = ((2**12, 3), (2**15, 4), (2**23, 5), (2**31, 6))  # below: entry's size
_LONGEST_INTEGER_BYTES: Final = 10
_FEW: Final = 8  # elements that are removed one by one; more are left out of a copy
_NEAR: Final = 8  # chunks that are found by index; more by walking there


class List:
    """A list. Indexes count from 0 and must be within bounds."""

    type_name: ClassVar[bytes] = b"list"
    __slots__ = ("_bytes", "_count", "_head", "_is_listpack", "_middle", "_tail")

    def __init__(self) -> None:
        self._head: list[bytes] = []
        self._tail = self._head
        self._middle: deque[list[bytes]] | None = None
        self._count = 0
        self._is_listpack = True
        self._bytes = _EMPTY_BYTES  # as a listpack, or _UNCOUNTED

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._chunks())

    # -- the two ends ----------------------------------------------------------------------------

    def push_head(self, elements: Sequence[bytes], fill: int) -> None:
        """Put each before the first, so that the last of `elements` comes first."""
        if self._bytes >= 0:
            self._count_in(elements, fill)
        head = self._head
        if 1 < len(elements) <= CHUNK - len(head):
            head[:0] = elements[::-1]
        else:
            for element in elements:
                if len(head) < CHUNK:
                    head.insert(0, element)
                else:
                    head = self._add_head(element)
        self._count += len(elements)

    def push_tail(self, elements: Sequence[bytes], fill: int) -> None:
        """Put each after the last."""
        if self._bytes >= 0:
            self._count_in(elements, fill)
        tail = self._tail
        if 1 < len(elements) <= CHUNK - len(tail):
            tail += elements
        else:
            for element in elements:
                if len(tail) < CHUNK:
                    tail.append(element)
                else:
                    tail = self._add_tail(element)
        self._count += len(elements)

    def push_singly(self, elements: Sequence[bytes], at_head: bool, fill: int) -> None:
        """Push one after the other, which the encoding may tell from pushing all at once."""
        push = self.push_head if at_head else self.push_tail
        if self._bytes < 0:
            push(elements, fill)
        else:
            for element in elements:
                push((element,), fill)

    def pop_head(self, fill: int) -> bytes:
        """Take the first element."""
        element = self._head.pop(0)
        self._count -= 1
        if not self._head:
            self._drop_head()
        if self._bytes >= 0:
            self._bytes -= _listpack_bytes(element)
            if not self._is_listpack:
                self._shrink(fill)
        elif self._count <= _COUNTED_FROM:
            self._measure()
            self._shrink(fill)
        return element

    def pop_tail(self, fill: int) -> bytes:
        """Take the last element."""
        element = self._tail.pop()
        self._count -= 1
        if not self._tail:
            self._drop_tail()
        if self._bytes >= 0:
            self._bytes -= _listpack_bytes(element)
            if not self._is_listpack:
                self._shrink(fill)
        elif self._count <= _COUNTED_FROM:
            self._measure()
            self._shrink(fill)
        return element

    def take_head(self, count: int, fill: int) -> list[bytes]:
        """Take the first `count` elements, or all there are, the first first."""
        taken = self.slice(0, count)
        self._cut_head(len(taken))
        self._count_out(taken, fill)
        return taken

    def take_tail(self, count: int, fill: int) -> list[bytes]:
        """Take the last `count` elements, or all there are, the last first."""
        taken = self.slice(max(self._count - count, 0), self._count)
        self._cut_tail(len(taken))
        self._count_out(taken, fill)
        taken.reverse()
        return taken

    def keep(self, start: int, end: int, fill: int) -> None:
        """Remove all but the elements from `start` up to `end`, that one not included."""
        self._cut_tail(self._count - end)
        self._cut_head(min(start, self._count))
        self._measure()
        self._shrink(fill)

    # -- reading ---------------------------------------------------------------------------------

    def get(self, index: int) -> bytes:
        """The element at `index`."""
        chunk, offset, _ = self._locate(index)
        return chunk[offset]

    def slice(self, start: int, end: int) -> list[bytes]:
        """A new list of the elements from `start` up to `end`, that one not included."""
        head = self._head
        first = len(head)
        if end <= first or head is self._tail:
            return head[start:end]
        tail = self._tail
        last = self._count - len(tail)
        if start >= last:
            return tail[start - last : end - last]
        found = head[start:]
        if self._middle and end > first:
            found += self._slice_middle(max(start - first, 0), min(end, last) - first)
        if end > last:
            found += tail[: end - last]
        return found

    def _slice_middle(self, start: int, end: int) -> list[bytes]:
        middle = self._middle
        assert middle is not None
        number, skipped = divmod(start, CHUNK)
        stop = (end + CHUNK - 1) // CHUNK
        found: list[bytes] = []
        if stop - number <= _NEAR:
            for index in range(number, stop):
                found += middle[index]
        else:
            for chunk in islice(middle, number, stop):
                found += chunk
        return found[skipped : skipped + end - start]

    def positions(self, element: bytes, compared_max: int) -> Iterator[int]:
        """Where `element` stands among the first `compared_max`, ascending."""
        base = 0
        for chunk in self._chunks():
            if base >= compared_max:
                return
            if element in chunk:
                for offset, other in enumerate(chunk[: compared_max - base]):
                    if other == element:
                        yield base + offset
            base += len(chunk)

    def last_positions(self, element: bytes, compared_max: int) -> Iterator[int]:
        """Where `element` stands among the last `compared_max`, descending."""
        base = self._count
        lowest = self._count - compared_max
        for chunk in self._chunks_from_tail():
            if base <= lowest:
                return
            base -= len(chunk)
            if element in chunk:
                for offset in range(len(chunk) - 1, max(lowest - base, 0) - 1, -1):
                    if chunk[offset] == element:
                        yield base + offset

    # -- changing in the middle ------------------------------------------------------------------

    def replace(self, index: int, element: bytes, fill: int) -> None:
        """Put `element` in place of the one at `index`."""
        chunk, offset, _ = self._locate(index)
        if self._bytes >= 0:
            self._outgrow((element,), 0, fill)
            self._bytes += _listpack_bytes(element) - _listpack_bytes(chunk[offset])
        chunk[offset] = element
        self._shrink(fill)

    def insert(self, index: int, element: bytes, fill: int) -> None:
        """Put `element` before the one at `index`, or after the last where there is none."""
        if self._bytes >= 0:
            self._count_in((element,), fill)
        if index == self._count:
            chunk, offset, number = self._tail, len(self._tail), self._last_number()
        else:
            chunk, offset, number = self._locate(index)
        chunk.insert(offset, element)
        self._count += 1
        if len(chunk) > CHUNK:
            self._pass_on(number)

    def remove(self, positions: list[int], fill: int) -> None:
        """Remove the elements at `positions`, which are ascending or descending."""
        if len(positions) > _FEW:
            doomed = set(positions)
            kept = [element for index, element in enumerate(self) if index not in doomed]
            self._fill(kept)
            self._measure()
        else:
            for index in sorted(positions, reverse=True):
                chunk, offset, number = self._locate(index)
                element = chunk.pop(offset)
                self._count -= 1
                if self._bytes >= 0:
                    self._bytes -= _listpack_bytes(element)
                self._pull_in(number)
            if self._bytes < 0:
                self._measure()
        self._shrink(fill)

    # -- as every collection ---------------------------------------------------------------------

    def encoding(self) -> bytes:
        """`listpack` or `quicklist`."""
        return b"listpack" if self._is_listpack else b"quicklist"

    def copy(self) -> "List":
        """An equal list."""
        twin = List()
        twin._head = self._head.copy()
        twin._tail = twin._head if self._tail is self._head else self._tail.copy()
        if self._middle:
            twin._middle = deque(chunk.copy() for chunk in self._middle)
        twin._count = self._count
        twin._is_listpack = self._is_listpack
        twin._bytes = self._bytes
        return twin

    def shed(self, count: int) -> None:
        """Forget about `count` elements."""
        self._cut_tail(min(count, self._count))

    def sample_bytes(self, samples: int) -> int:
        """The memory in use; elements are judged by the first `samples`."""
        total = sys.getsizeof(self) + sys.getsizeof(self._head)
        if self._tail is not self._head:
            total += sys.getsizeof(self._tail)
        if self._middle:
            total += sys.getsizeof(self._middle)
            total += len(self._middle) * sys.getsizeof(self._middle[0])
        sampled = list(islice(self, samples or None))
        if sampled:
            total += sum(map(sys.getsizeof, sampled)) * self._count // len(sampled)
        return total

    # -- chunks ----------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[list[bytes]]:
        yield self._head
        if self._middle:
            yield from self._middle
        if self._tail is not self._head:
            yield self._tail

    def _chunks_from_tail(self) -> Iterator[list[bytes]]:
        yield self._tail
        if self._middle:
            yield from reversed(self._middle)
        if self._tail is not self._head:
            yield self._head

    def _locate(self, index: int) -> tuple[list[bytes], int, int]:
        """The chunk that holds `index`, the offset there, and the chunk's number (head: 0)."""
        head = self._head
        if index < len(head):
            return head, index, 0
        tail = self._tail
        offset = index - self._count + len(tail)
        if offset >= 0:
            return tail, offset, self._last_number()
        middle = self._middle
        assert middle is not None
        number, offset = divmod(index - len(head), CHUNK)
        return middle[number], offset, number + 1

    def _last_number(self) -> int:
        if self._tail is self._head:
            return 0
        return 1 + (len(self._middle) if self._middle else 0)

    def _add_head(self, element: bytes) -> list[bytes]:
        """Begin a new head before a full one."""
        if self._head is not self._tail:
            if self._middle is None:
                self._middle = deque()
            self._middle.appendleft(self._head)
        self._head = [element]
        return self._head

    def _add_tail(self, element: bytes) -> list[bytes]:
        """Begin a new tail behind a full one."""
        if self._head is not self._tail:
            if self._middle is None:
                self._middle = deque()
            self._middle.append(self._tail)
        self._tail = [element]
        return self._tail

    def _drop_head(self) -> None:
        """Give up the empty head."""
        self._head = self._middle.popleft() if self._middle else self._tail

    def _drop_tail(self) -> None:
        """Give up the empty tail."""
        self._tail = self._middle.pop() if self._middle else self._head

    def _cut_head(self, count: int) -> None:
        self._count -= count
        while count:
            head = self._head
            if count < len(head) or head is self._tail:
                del head[:count]
                return
            count -= len(head)
            self._drop_head()

    def _cut_tail(self, count: int) -> None:
        self._count -= count
        while count:
            tail = self._tail
            if count < len(tail) or tail is self._head:
                del tail[-count:]
                return
            count -= len(tail)
            self._drop_tail()

    def _pass_on(self, number: int) -> None:
        """Chunk `number` has one element too many: pass one on to the nearer end."""
        last = self._last_number()
        middle = self._middle or deque[list[bytes]]()
        if number <= last - number:
            if number == 0:
                self._add_head(self._head.pop(0))
                return
            carried = middle[number - 1].pop(0)
            for index in range(number - 2, -1, -1):
                middle[index].append(carried)
                carried = middle[index].pop(0)
            self._head.append(carried)
            if len(self._head) > CHUNK:
                self._add_head(self._head.pop(0))
            return
        if number == last:
            self._add_tail(self._tail.pop())
            return
        carried = middle[number - 1].pop()
        for index in range(number, last - 1):
            middle[index].insert(0, carried)
            carried = middle[index].pop()
        self._tail.insert(0, carried)
        if len(self._tail) > CHUNK:
            self._add_tail(self._tail.pop())

    def _pull_in(self, number: int) -> None:
        """Chunk `number` lost an element: one between the ends gets it from the nearer of them."""
        last = self._last_number()
        middle = self._middle or deque[list[bytes]]()
        if 0 < number < last:
            if number <= last - number:
                for index in range(number - 1, 0, -1):
                    middle[index].insert(0, middle[index - 1].pop())
                middle[0].insert(0, self._head.pop())
            else:
                for index in range(number - 1, last - 2):
                    middle[index].append(middle[index + 1].pop(0))
                middle[last - 2].append(self._tail.pop(0))
        if not self._head:
            self._drop_head()
        elif not self._tail:
            self._drop_tail()

    def _fill(self, elements: list[bytes]) -> None:
        """Hold `elements` and nothing else."""
        self._count = len(elements)
        chunks = [elements[at : at + CHUNK] for at in range(0, len(elements), CHUNK)] or [[]]
        self._head = chunks[0]
        self._tail = chunks[-1]
        self._middle = deque(chunks[1:-1]) if len(chunks) > 2 else None

    # -- the name of the encoding ----------------------------------------------------------------

    def _outgrow(self, elements: Sequence[bytes], more: int, fill: int) -> None:
        """Before a change by `elements`, which make the list longer by `more`."""
        if self._is_listpack:
            bytes_then = self._bytes + sum(map(len, elements))
            if fill >= 0 or bytes_then > _NODE_BYTES[0]:
                self._is_listpack = _fits(bytes_then, self._count + more, fill)

    def _count_in(self, elements: Sequence[bytes], fill: int) -> None:
        """Before `elements` are added."""
        self._outgrow(elements, len(elements), fill)
        if not self._is_listpack and self._count + len(elements) > _COUNTED_MAX:
            self._bytes = _UNCOUNTED
        elif len(elements) == 1:
            self._bytes += _listpack_bytes(elements[0])
        else:
            self._bytes += sum(map(_listpack_bytes, elements))

    def _count_out(self, elements: Iterable[bytes], fill: int) -> None:
        """After `elements` were removed."""
        if self._bytes >= 0:
            self._bytes -= sum(map(_listpack_bytes, elements))
        else:
            self._measure()
        if not self._is_listpack:
            self._shrink(fill)

    def _measure(self) -> None:
        """Count the bytes of a list that is, or may become, a listpack."""
        if self._count <= _COUNTED_FROM or self._is_listpack:
            self._bytes = _EMPTY_BYTES + sum(map(_listpack_bytes, self))
        else:
            self._bytes = _UNCOUNTED

    def _shrink(self, fill: int) -> None:
        """After a change that may have made the list smaller."""
        if not self._is_listpack and self._bytes >= 0:
            self._is_listpack = _fits_half(self._bytes, self._count, fill)


def _fits(size_bytes: int, count: int, fill: int) -> bool:
    """Whether a listpack may be so large."""
    if fill < 0:
        return size_bytes <= _NODE_BYTES[-fill - 1]
    return size_bytes <= _SAFE_BYTES and count <= max(fill, 1)


def _fits_half(size_bytes: int, count: int, fill: int) -> bool:
    """Whether a quicklist has become so small that it is a listpack again."""
    if fill < 0:
        return size_bytes <= _NODE_BYTES[-fill - 1] // 2
    return size_bytes <= _SAFE_BYTES and count <= max(fill, 1) // 2


def _listpack_bytes(element: bytes) -> int:
    """What an element takes in a listpack: its header, itself, and its length once more."""
    size = len(element)
    if 0 < size <= _INTEGER_TEXT_MAX and 48 <= element[-1] <= 57:  # ends in a digit
        number = integer_of(element)
        if number is not None:
            return _integer_bytes(number)
    if size < 64:
        return size + 2
    entry = size + (2 if size < 4096 else 5)
    return entry + _back_length_bytes(entry)


def _integer_bytes(number: int) -> int:
    if 0 <= number < 128:
        return 2
    for bound, size in _INTEGER_BYTES:
        if -bound <= number < bound:
            return size
    return _LONGEST_INTEGER_BYTES


def _back_length_bytes(entry: int) -> int:
    for size, bound in enumerate((128, 16383, 2097151, 268435455), start=1):
        if entry < bound:
            return size
    return 5
