"""Opens a storage on a directory: sizes checked, directory locked, swept or taken up as it is."""

import resource
from typing import Final

from hotplate.tiers.directory import Directory, StoreOpenError
from hotplate.tiers.pool import FILES_MAX
from hotplate.tiers.recovery import read_segments
from hotplate.tiers.segment import Medium
from hotplate.tiers.store import SegmentStore
from hotplate.wire.segment import PAGE_BYTES, round_up

SEGMENT_BYTES_DEFAULT_MAX: Final = 64 * 1024 * 1024  # of shared memory: made in 30 ms
DESCRIPTOR_SHARE: Final = 6  # of the process' descriptors; a mapped file takes two
SEGMENTS_DEFAULT: Final = 8  # so many at least, so that several slot classes find room
SEGMENT_BYTES_MIN: Final = 4 * PAGE_BYTES  # header, columns, a payload page, one to spare


def open_store(
    name: str,
    path: str,
    medium: Medium,
    *,
    capacity_bytes: int,
    segment_bytes: int | None,
    now_ms: int,
    keep: bool,
) -> SegmentStore:
    """Lock and sweep the directory, check the sizes, open. StoreOpenError says what is wrong.

    With `keep` the segments that are there stay: see SegmentStore.settle.
    """
    if segment_bytes is None:
        share = round_up(capacity_bytes // SEGMENTS_DEFAULT, PAGE_BYTES)
        segment_bytes = min(max(share, SEGMENT_BYTES_MIN), SEGMENT_BYTES_DEFAULT_MAX)
    if segment_bytes < SEGMENT_BYTES_MIN:
        raise StoreOpenError(f"segment size {segment_bytes} is below {SEGMENT_BYTES_MIN} bytes")
    segment_bytes = round_up(segment_bytes, PAGE_BYTES)
    if capacity_bytes < segment_bytes:
        raise StoreOpenError(
            f"capacity {capacity_bytes} is below a segment of {segment_bytes} bytes"
        )
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    directory = Directory(path, now_ms, keep=keep)
    try:
        kept_bytes = sum(file.file_bytes for file in directory.kept)
        free_bytes = directory.free_bytes + kept_bytes
        if capacity_bytes > free_bytes:
            raise StoreOpenError(
                f"capacity {capacity_bytes} is above the {free_bytes} bytes that are free in "
                f"'{path}'"
            )
        store = SegmentStore(
            name,
            directory,
            medium,
            capacity_bytes=capacity_bytes,
            segment_bytes=segment_bytes,
            files_max=min(FILES_MAX, descriptors // DESCRIPTOR_SHARE),
        )
        store.take_up(*read_segments(directory.kept, medium))
    except OSError as error:
        directory.close(remove=False)
        raise StoreOpenError(f"cannot use what is in '{path}': {error}") from error
    except StoreOpenError:
        directory.close(remove=directory.is_new)
        raise
    return store
