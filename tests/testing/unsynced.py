"""What a loss of power leaves of files: of the writes that no fsync covered, any part.

Any may be there without the others, the last one of them in part; where one is missing before
another there are zeros; or the file got its length, but none of the bytes. Names change in order,
which file systems with a journal see to.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

Files = dict[str, bytes]
"""What is found: name -> content."""

_ALL_SUBSETS_OF: Final = 4  # so many writes; of more, some of their subsets are tried


class Content:
    """One file: what is safe, and what was done since, as (offset, bytes) or (size, None)."""

    def __init__(self, safe: bytes = b"") -> None:
        self.safe = safe
        self.since: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes) -> None:
        """Some bytes at an offset."""
        self.since.append((offset, data))

    def cut(self, size: int) -> None:
        """Nothing behind `size`."""
        self.since.append((size, None))

    def sync(self) -> None:
        """All of it is safe."""
        self.safe = self.now()
        self.since.clear()

    def now(self) -> bytes:
        """As a process sees it."""
        return self._after(range(len(self.since)), torn=False)

    def outcomes(self) -> Iterator[bytes]:
        """All that may be found."""
        for kept in _subsets(len(self.since)):
            yield self._after(kept, torn=False)
            if kept:
                yield self._after(kept, torn=True)
        whole = self.now()
        if len(whole) > len(self.safe):
            yield self.safe + bytes(len(whole) - len(self.safe))

    def _after(self, kept: Sequence[int], *, torn: bool) -> bytes:
        """With those of the changes; the last of them in half where `torn`."""
        data = bytearray(self.safe)
        for position in kept:
            offset, written = self.since[position]
            if written is None:
                del data[offset:]
                continue
            if torn and position == kept[-1]:
                written = written[: len(written) // 2]
            data += bytes(max(0, offset - len(data)))
            data[offset : offset + len(written)] = written
        return bytes(data)


def _subsets(count: int) -> Iterator[Sequence[int]]:
    everything = range(count)
    if count <= _ALL_SUBSETS_OF:
        for size in range(count + 1):
            yield from combinations(everything, size)
        return
    for position in range(count + 1):
        yield everything[:position]
        yield everything[position:]
    for position in everything:
        yield [position]
        yield [other for other in everything if other != position]


def after_power_failure(ways: Sequence[Mapping[str, Content]]) -> Iterator[Files]:
    """Each thing that may be found once; `ways`: the names that may have survived."""
    seen: set[frozenset[tuple[str, bytes]]] = set()
    for names in ways:
        for files in _outcomes(names):
            key = frozenset(files.items())
            if key not in seen:
                seen.add(key)
                yield files


def _outcomes(names: Mapping[str, Content]) -> Iterator[Files]:
    """One file in all its ways, the others with all that was written, or with nothing."""
    if not names:
        yield {}
    kept = {name: file.now() for name, file in names.items()}
    lost = {name: file.safe for name, file in names.items()}
    for name, file in names.items():
        for data in file.outcomes():
            yield kept | {name: data}
            yield lost | {name: data}
