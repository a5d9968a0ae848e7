"""Operations of the KV cache's journal, packed: lists of text, bytes, numbers, None and maps."""

from typing import Any, cast

import msgpack  # type: ignore[import-untyped]  # ships no types


class BadOperationsError(ValueError):
    """The bytes are no list of operations."""


def pack_operations(operations: list[list[Any]]) -> bytes:
    """One record's payload."""
    return cast("bytes", msgpack.packb(operations, use_bin_type=True))


def unpack_operations(payload: bytes) -> list[list[Any]]:
    """What was packed."""
    try:
        operations = msgpack.unpackb(payload, raw=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BadOperationsError(f"no operations: {error}") from error
    if not isinstance(operations, list) or not all(
        isinstance(operation, list) and operation and isinstance(operation[0], str)
        for operation in operations
    ):
        raise BadOperationsError("no list of operations")
    return operations
