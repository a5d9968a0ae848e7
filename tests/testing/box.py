"""The simplest collection: a list of numbers in a box."""

from typing import ClassVar


class Box:
    """A value that is no string."""

    type_name: ClassVar[bytes] = b"box"

    def __init__(self, content: list[int]) -> None:
        self.content = content

    def __len__(self) -> int:
        return len(self.content)

    def encoding(self) -> bytes:
        """Boxes know one."""
        return b"cardboard"

    def copy(self) -> "Box":
        """Another box with the same content."""
        return Box(list(self.content))

    def shed(self, count: int) -> None:
        """Forget the last `count`."""
        del self.content[-count:]

    def sample_bytes(self, samples: int) -> int:
        """Eight bytes a number."""
        return 8 * len(self.content)
