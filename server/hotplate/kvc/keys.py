"""The key list of one call.

Owns the two forms a list of block keys can have: packed (one blob of equal widths, what TOKENS,
PACKED and most lists are) and listed (mixed widths). It knows nothing of blocks.
Invariant: exactly one of `blob` and `_items` is set; a list of equal widths is always packed.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from struct import unpack_from as unpack_from_format
from typing import Final

from hotplate.errors import CommandError
from hotplate.limits import BLOCK_KEY_BYTES_MAX

_CUT_KEYS: Final = 256  # formats are kept by struct: few and small ones


class Keys:
    """Block keys in the order they were given."""

    __slots__ = ("_count", "_items", "blob", "width")

    def __init__(self, width: int | None, blob: bytes | None, items: list[bytes] | None) -> None:
        self.width = width
        self.blob = blob
        self._items = items
        if items is not None:
            self._count = len(items)
        else:
            self._count = len(blob) // width if blob and width else 0

    @classmethod
    def packed(cls, width: int, blob: bytes) -> "Keys":
        """Keys of `width` bytes each, one after the other."""
        if width < 1 or len(blob) % width:
            raise CommandError(f"{len(blob)} bytes of keys are not a multiple of width {width}")
        return cls(width, blob, None)

    @classmethod
    def listed(cls, keys: list[bytes]) -> "Keys":
        """Keys one by one; they are packed here when all have one width."""
        if not keys:
            return cls(1, b"", None)
        if len(keys) == 1 and keys[0]:
            return cls(len(keys[0]), keys[0], None)
        width = len(keys[0])
        if width and all(len(key) == width for key in keys):
            return cls(width, b"".join(keys), None)
        return cls(None, None, keys)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:
        if self.blob is None:
            assert self._items is not None
            return self._items[index]
        width = self.width
        assert width is not None
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(index)
        start = index * width
        return self.blob[start : start + width]

    def listing(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """The keys of a range, cut into single ones (in one C call when packed)."""
        if self.blob is None:
            assert self._items is not None
            return self._items[start:stop]
        stop = self._count if stop is None else min(stop, self._count)
        count = stop - start
        if count <= 0:
            return []
        width = self.width
        assert width is not None
        part = self.blob if count == self._count else self.blob[start * width : stop * width]
        if count == 1:
            return [part]
        return _split(part, width, count)

    def tail(self, start: int) -> "Keys":
        """The keys from `start` on."""
        if start == 0:
            return self
        if self.blob is None:
            assert self._items is not None
            return Keys.listed(self._items[start:])
        assert self.width is not None
        return Keys(self.width, self.blob[start * self.width :], None)

    def pick(self, indexes: Sequence[int]) -> "Keys":
        """The keys at some positions, in the order of these."""
        if self.blob is None:
            assert self._items is not None
            items = self._items
            return Keys.listed([items[index] for index in indexes])
        cut = self.listing()
        return Keys(self.width, b"".join([cut[index] for index in indexes]), None)


@lru_cache(maxsize=BLOCK_KEY_BYTES_MAX)
def _cutter(width: int) -> Struct:
    return Struct(f"{width}s" * _CUT_KEYS)


def _split(blob: bytes, width: int, count: int) -> list[bytes]:
    """Cut a blob in whole batches of one prepared format, then the rest."""
    whole = count - count % _CUT_KEYS
    cut: list[bytes] = []
    if whole:
        unpack_from, step = _cutter(width).unpack_from, _CUT_KEYS * width
        for start in range(0, whole * width, step):
            cut.extend(unpack_from(blob, start))
    if whole < count:
        cut.extend(unpack_from_format(f"{width}s" * (count - whole), blob, whole * width))
    return cut
