"""A plain block's one copy, as an object."""

from hotplate.kvc.index import SERVING, Copy, Index


def plain_copy(index: Index, block: int) -> Copy:
    """The one copy of a plain block as a Copy of its own (published, or its WRITING place)."""
    state = index.state[block]
    size = index.sum_bytes
    serving = state >= SERVING
    return Copy(
        state - SERVING if serving else index.sums[block * size],
        index.instance.all_specs,
        index.shape,
        index.place_of(block),
        index.generation[block],
        bytes(index.sums[block * size : (block + 1) * size]) if serving else b"",
    )
