"""New keys that have been given ids, but are not blocks yet.

A write of new keys only, the usual one, finds out that they are new by entering them: one pass
over the index instead of one to look and one to enter. Until the blocks are entered their ids are
ABSENT and free or taken; a write that is refused gives the claim up and leaves the index as it was.
"""

from hotplate.kvc.index import SHARD_MASK, Index


class Claim:
    """Keys of an index that stand for the ids `start`..`end - 1`, in order."""

    __slots__ = ("_index", "_keys", "_taken", "end", "start")

    def __init__(self, index: Index, keys: list[bytes], start: int) -> None:
        self._index = index
        self._keys = keys
        self._taken = False
        self.start = start
        self.end = start + len(keys)

    def take_ids(self) -> None:
        """Take the ids: before anything else takes or frees ids of this index."""
        ((start, _),) = self._index.take_ids(len(self._keys))
        if start != self.start:
            raise RuntimeError(f"ids from {self.start} were claimed, from {start} taken")
        self._taken = True

    def give_up(self) -> None:
        """The keys are as unknown again as they were, the ids as free."""
        shards = self._index.shards
        for key in self._keys:
            del shards[hash(key) & SHARD_MASK][key]
        if self._taken:
            self._index.give_ids(self.start, self.end)


def claim(index: Index, keys: list[bytes]) -> Claim | None:
    """Claim ids for keys; None, and nothing is changed, unless all are new and distinct.

    None too where the ids to be had do not lie together.
    """
    start = index.next_ids(len(keys))
    if start is None:
        return None
    ids = list(range(start, start + len(keys)))
    shards = index.shards
    found = [
        shards[hash(key) & SHARD_MASK].setdefault(key, block)
        for key, block in zip(keys, ids, strict=True)
    ]
    if found == ids:
        return Claim(index, keys, start)
    for key, block, known in zip(keys, ids, found, strict=True):
        if block == known:
            del shards[hash(key) & SHARD_MASK][key]
    return None
