"""Lists in the events of the KV cache: one msgpack array in one bulk string."""

from collections.abc import Sequence
from typing import Any, cast

import msgpack  # type: ignore[import-untyped]  # ships no types


def pack_list(items: Sequence[Any]) -> bytes:
    """A list of bytes, texts, integers or booleans."""
    return cast("bytes", msgpack.packb(items))


def unpack_list(data: bytes) -> list[Any]:
    """What `pack_list` packed."""
    return cast("list[Any]", msgpack.unpackb(data))
