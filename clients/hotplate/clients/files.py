"""Block files on a mount that this process has too: storages of type `file`.

A file holds blocks and nothing else. Its name is never used for other blocks, so a read needs no
check of a generation: the file is there, or the block is gone. Bytes are checked against the sums
that their writer gave, if it gave any.
"""

import os
from pathlib import Path

from xxhash import xxh3_64_digest

from hotplate.clients.errors import ChecksumError, StaleBlockError
from hotplate.clients.records import Run

_FILE_MODE = 0o660
_NO_SUM = bytes(8)


def read_file(path: Path, run: Run, buffer: memoryview) -> None:
    """Fill `buffer` with the payloads of a packed run. StaleBlockError if they are gone, OSError
    if the mount is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise
        raise StaleBlockError(f"{path} is gone") from error
    try:
        filled = 0
        while filled < len(buffer):
            count = os.preadv(descriptor, [buffer[filled:]], run.offset + filled)
            if count == 0:
                raise StaleBlockError(f"{path} ends at {run.offset + filled}")
            filled += count
    finally:
        os.close(descriptor)


def write_file(path: Path, offset: int, payloads: memoryview) -> None:
    """Write payloads at `offset`, making the file if it is not there. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, _FILE_MODE)
    try:
        written = 0
        while written < len(payloads):
            written += os.pwrite(descriptor, payloads[written:], offset + written)
    finally:
        os.close(descriptor)


def check_known_sums(run: Run, payloads: memoryview, spec_sizes: list[int]) -> None:
    """ChecksumError where bytes differ from a sum that is known."""
    start = 0
    for index in range(run.count):
        sums = run.sums_of(index)
        for number, size in enumerate(spec_sizes):
            known = sums[8 * number : 8 * number + 8]
            part = payloads[start : start + size]
            if known not in (b"", _NO_SUM) and xxh3_64_digest(part) != known:
                raise ChecksumError(f"block {run.first + index} in {run.span.segment}")
            start += size
