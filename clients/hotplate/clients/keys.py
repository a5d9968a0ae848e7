"""The key list of one call: equal keys side by side in one blob, which is how they travel.

Immutable. Slicing copies the slice's bytes, nothing else. Keys of different widths in one call are
refused: the chains an engine makes have one width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from hotplate.wire.hashing import pack_tokens

Tokens = Sequence[int] | bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Keys:
    """`len(keys)` keys of `width` bytes each; `keys[i]` is bytes, `keys[a:b]` is Keys again."""

    width: int
    packed: bytes

    def __post_init__(self) -> None:
        if self.width < 1 or len(self.packed) % self.width:
            raise ValueError(f"{len(self.packed)} bytes are no list of keys of {self.width} bytes")

    @classmethod
    def of(cls, keys: "Keys | Sequence[bytes]") -> "Keys":
        """`keys` themselves, or the list packed; ValueError where the widths differ."""
        if isinstance(keys, Keys):
            return keys
        widths = {len(key) for key in keys}
        if len(widths) > 1:
            raise ValueError(f"keys of different widths: {sorted(widths)}")
        return cls(widths.pop() if widths else 1, b"".join(keys))

    def __len__(self) -> int:
        return len(self.packed) // self.width

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> "Keys": ...
    def __getitem__(self, index: int | slice) -> "bytes | Keys":
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            if step != 1:
                raise ValueError(f"keys are cut in steps of 1, not {step}")
            return Keys(self.width, self.packed[begin * self.width : end * self.width])
        index = range(len(self))[index]
        return self.packed[index * self.width : (index + 1) * self.width]

    def __iter__(self) -> Iterator[bytes]:
        return (self[index] for index in range(len(self)))

    @property
    def arguments(self) -> list[bytes]:
        """The end of a command: `PACKED width blob`."""
        return [b"PACKED", b"%d" % self.width, self.packed]


def token_bytes(tokens: Tokens) -> bytes:
    """Token ids as little-endian uint32, the form that is hashed; bytes are taken to be that."""
    if isinstance(tokens, bytes | bytearray | memoryview):
        return bytes(tokens)
    return pack_tokens(tokens)
