"""The block index of one instance.

Owns where every block of an instance stands: key to id, and the columns of an id. It knows no
quotas, sessions, leases' terms or stores; it must not hand out memory of its own.

A chained index keeps *runs*: consecutive ids s..e-1 in which each is the parent of the next, with
consecutive slots of one storage. What is equal or linear in a run stands at its first id only:

    id          s      s+1    s+2  ...  e-1
    run         s      s      s         s          first id of the run
    parent      p      -      -         -          id above the run, -1 for a root
    tail        e      -      -         -          one past the run's last id
    place       q      -      -         -          slot of s; the others' follow
    state key generation sums created accessed ticks hits expires priority         per id
    children queued proven

An access is written where its path leaves a run: `accessed[leave]`, `ticks[leave]` and
`hits[leave] += 1`. A block's last access is the maximum, its hits the sum, over [id, tail).
`created` and `accessed` are stamps; a tick is `clock` after the access: how many blocks were
accessed until then. `proven` is the reclaim policy's.
Without chains every id is a run of its own and the columns are per id.

Invariants: an id that is ABSENT and has a key is a tombstone: it has children. A leaf of a chained
index is the last id of its run. A parent's expiry is never before its child's. `expires` does not
grow along a run. Ids that are not `DETAILED` hold one copy of all specs, keys of `width` bytes.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappush
from re import DOTALL
from re import compile as compile_pattern
from typing import TYPE_CHECKING, Any, Final

from hotplate.blocks import Shape
from hotplate.kvc.free_ids import FreeIds
from hotplate.kvc.model import SUM_BYTES, Instance
from hotplate.kvc.policy import build_policy
from hotplate.kvc.policy.base import ID_BITS, PRIORITY_SHIFT
from hotplate.kvc.policy.ghosts import GHOST_BYTES
from hotplate.kvc.policy.queues import LeafQueues
from hotplate.kvc.retention import RETAINED_BYTES, Retained, in_force

if TYPE_CHECKING:
    from hotplate.kvc.lease import LeaseRange
    from hotplate.kvc.write_session import WriteSession

ABSENT: Final = 0
WRITING: Final = 1  # one copy of all specs; the first byte of its sums is the storage's number
DETAILED: Final = 2  # look into `details`
SERVING: Final = 16  # 16 + n: one copy of all specs, published, on storage n
NEVER: Final = (1 << 63) - 1  # an expiry
STAMP_SHIFT: Final = 22  # a stamp: milliseconds << 22 | sequence

SHARD_MASK: Final = 255  # several dicts, so that no growing dict stalls the server
_SHARDS: Final = SHARD_MASK + 1
_FREE_IDS_KEPT: Final = 65_536  # so many may lie free before short free ranges are used
_GROWTH_IDS_MAX: Final = 16_384  # columns grow in steps of a few milliseconds at most
# what a block costs beside its columns: key object, id object, dict slot, heap entry
_BLOCK_OVERHEAD_BYTES: Final = 33 + 15 + 32 + 48 + 56
_DETAIL_BYTES: Final = 512
_INDEX_BYTES: Final = _SHARDS * 72 + 8192
_IN_USE: Final = compile_pattern(rb"[^\0]", DOTALL)


@dataclass(slots=True, eq=False)
class Copy:
    """One copy of a block that is not alone or not whole. `session` is set while it is WRITING."""

    storage: int
    specs: int
    shape: Shape
    place: int
    generation: int
    sums: bytes = b""
    session: "WriteSession | None" = None
    position: int = 0  # among the session's new keys


@dataclass(slots=True, eq=False)
class Detail:
    """The copies of a DETAILED block, and the hits that an earlier block of this id had."""

    copies: list[Copy] = field(default_factory=list)
    hits_before: int = 0

    @property
    def writing(self) -> bool:
        """Whether a copy is being written."""
        return any(copy.session is not None for copy in self.copies)


class Index:
    """The blocks of one instance."""

    __slots__ = (
        "accessed",
        "blocks",
        "capacity",
        "chained",
        "children",
        "clock",
        "created",
        "details",
        "expires",
        "expiry_heap",
        "free",
        "generation",
        "hits",
        "ids",
        "instance",
        "kept",
        "keys",
        "leases",
        "leaves",
        "odd_keys",
        "parent",
        "place",
        "priority",
        "proven",
        "proven_blocks",
        "queued",
        "queued_upto",
        "retained",
        "run",
        "serving",
        "sessions",
        "shape",
        "shards",
        "size",
        "state",
        "sum_bytes",
        "sums",
        "tail",
        "ticks",
        "width",
        "writing",
    )

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.chained = instance.chained
        self.sum_bytes = SUM_BYTES * len(instance.specs)
        self.width = 16
        self.shape = instance.shape(instance.all_specs, self.width)
        self.shards: list[dict[bytes, int]] = [{} for _ in range(_SHARDS)]
        self.odd_keys: dict[int, bytes] = {}
        self.details: dict[int, Detail] = {}
        self.leases: dict[int, list[LeaseRange]] = {}  # by the first id of a run
        self.queued_upto: int | None = None  # while leaves are queued anew: those below are
        self.clock = 0  # accesses to blocks
        self.retained: dict[int, Retained] = {}
        self.kept = 0  # retained with a priority above the usual one
        self.proven_blocks = 0
        self.expiry_heap: list[int] = []  # expiry << 32 | leaf
        self.free = FreeIds()
        self.blocks = 0  # not ABSENT
        self.ids = 0  # with a key: blocks and tombstones
        self.size = 0  # ids below it were in use at some time
        self.capacity = 0  # length of the columns
        self.sessions: dict[bytes, WriteSession] = {}  # the open ones
        self.serving: dict[int, int] = {}  # bytes by storage
        self.writing: dict[int, int] = {}
        self.state = bytearray()
        self.keys = bytearray()
        self.sums = bytearray()
        self.priority = bytearray()
        self.proven = bytearray()
        self.run = array("I")
        self.parent = array("i")
        self.tail = array("I")
        self.place = array("Q")
        self.generation = array("Q")
        self.created = array("Q")
        self.accessed = array("Q")
        self.ticks = array("Q")
        self.hits = array("I")
        self.expires = array("q")
        self.children = array("I")
        self.queued = array("H")
        self.leaves = LeafQueues(self, build_policy(instance.group.policy, self))

    # keys and ids

    def lookup(self, key: bytes) -> int | None:
        """The id of a key: a block, or a tombstone."""
        return self.shards[hash(key) & SHARD_MASK].get(key)

    def lookup_all(self, keys: list[bytes]) -> list[int | None]:
        """The ids of many keys."""
        shards = self.shards
        return [shards[hash(key) & SHARD_MASK].get(key) for key in keys]

    def name(self, start: int, keys: list[bytes]) -> None:
        """Let keys stand for the ids from `start` on."""
        shards = self.shards
        for block, key in enumerate(keys, start):
            shards[hash(key) & SHARD_MASK][key] = block

    def key_of(self, block: int) -> bytes:
        """The key of an id."""
        if self.odd_keys:
            odd = self.odd_keys.get(block)
            if odd is not None:
                return odd
        width = self.width
        return bytes(self.keys[block * width : (block + 1) * width])

    def parent_of(self, block: int) -> int:
        """The id above, -1 for a root."""
        return block - 1 if self.run[block] != block else self.parent[block]

    def place_of(self, block: int) -> int:
        """The slot of a block that is not DETAILED."""
        start = self.run[block]
        return self.place[start] + (block - start)

    def size_bytes(self) -> int:
        """An estimate of the memory this index takes."""
        return (
            _INDEX_BYTES
            + self.capacity * self.column_bytes()
            + self.ids * (_BLOCK_OVERHEAD_BYTES + self.width)
            + len(self.details) * _DETAIL_BYTES
            + len(self.retained) * RETAINED_BYTES
            + sum(map(len, self.odd_keys.values()))
            + (len(ghosts) * GHOST_BYTES if (ghosts := self.leaves.policy.ghosts) else 0)
        )

    def column_bytes(self) -> int:
        """Bytes of all columns for one id."""
        return 1 + 1 + 1 + self.width + self.sum_bytes + 5 * 4 + 6 * 8 + 2

    def need_bytes(self, count: int, detailed: int, width: int) -> int:
        """An estimate of what `count` new ids take, of which `detailed` are not plain."""
        fresh = max(0, count - self.free.count, self.size + count - self.capacity)
        each = _BLOCK_OVERHEAD_BYTES + width
        return fresh * self.column_bytes() + count * each + detailed * _DETAIL_BYTES

    def settle_width(self, width: int) -> None:
        """Take `width` as the width of plain keys if no id is in use (it can change only then)."""
        if self.ids == 0 and width != self.width:
            self.width = width
            self.keys = bytearray(width * self.capacity)
            self.shape = self.instance.shape(self.instance.all_specs, width)

    def take_ids(self, count: int) -> Iterator[tuple[int, int]]:
        """Ranges of `count` ids in all, in as few ranges as is reasonable."""
        while count:
            taken = self.free.take(count)
            if taken is None and self._free_ids_are_many():
                taken = self.free.take_some(count)
            if taken is None:
                taken = self.size, self.size + count
                self.size += count
                if self.size > self.capacity:
                    self._grow()
            count -= taken[1] - taken[0]
            yield taken

    def next_ids(self, count: int) -> int | None:
        """Where the range begins that `take_ids` would answer, None if it would be several."""
        start = self.free.find(count)
        if start is not None:
            return start
        return None if self._free_ids_are_many() else self.size

    def give_ids(self, start: int, end: int) -> None:
        """Give back ids that were taken and not entered."""
        if end == self.size:
            self.size = start
        else:
            self.free.give(start, end)

    def _free_ids_are_many(self) -> bool:
        return self.free.count > max(_FREE_IDS_KEPT, self.size >> 2)

    def _grow(self) -> None:
        step = min(max(1024, self.capacity >> 4), _GROWTH_IDS_MAX)
        capacity = max(self.size, self.capacity + step)
        added = capacity - self.capacity
        self.capacity = capacity
        for column, width in (
            (self.state, 1),
            (self.priority, 1),
            (self.proven, 1),
            (self.keys, self.width),
            (self.sums, self.sum_bytes),
        ):
            column.extend(bytes(added * width))
        columns: tuple[array[Any], ...] = (
            *(self.run, self.parent, self.tail, self.place, self.generation, self.created),
            *(self.accessed, self.ticks, self.hits, self.expires, self.children, self.queued),
        )
        for values in columns:
            values.frombytes(bytes(added * values.itemsize))

    # entering and leaving

    def extend_run(self, above: int, storage: int, place: int) -> bool:
        """Whether the id after `above` can be taken to continue its run with a slot.

        If so it is taken, and the caller enters it with `enter(..., start=above + 1)`.
        """
        if above < 0 or self.children[above]:
            return False
        state = self.state[above]
        if state == WRITING:
            state = SERVING + self.sums[above * self.sum_bytes]
        if state != SERVING + storage:
            return False
        block = above + 1
        if self.place_of(above) + 1 != place:
            return False
        if block == self.size:
            self.size += 1
            if self.size > self.capacity:
                self._grow()
            return True
        return self.free.take_at(block)

    def enter(
        self,
        ids: tuple[int, int],
        packed_keys: bytes,
        *,
        above: int,
        extend: bool = False,
        place: int = 0,
        generation: int = 0,
    ) -> None:
        """Give a range of ids, which keys stand for already, its place below `above`.

        The new ids are ABSENT and count as their parents' children. `extend`: they continue the
        run of `above`. Expiry, creation, access and priority are the caller's.
        """
        start, end = ids
        count = end - start
        self.keys[start * self.width : end * self.width] = packed_keys
        self.ids += count
        if count == 1:
            self._enter_one(start, above, extend, place, generation)
            return
        self.generation[start:end] = array("Q", (generation,)) * count
        self.accessed[start:end] = array("Q", bytes(8 * count))
        self.ticks[start:end] = array("Q", bytes(8 * count))
        self.hits[start:end] = array("I", bytes(4 * count))
        self.queued[start:end] = array("H", bytes(2 * count))
        self.proven[start:end] = bytes(count)
        if not self.chained:
            self.run[start:end] = array("I", range(start, end))
            self.place[start:end] = array("Q", range(place, place + count))
            self.parent[start:end] = array("i", (-1,)) * count
            self.tail[start:end] = array("I", range(start + 1, end + 1))
            self.children[start:end] = array("I", bytes(4 * count))
            return
        first = self.run[above] if extend else start
        self.run[start:end] = array("I", (first,)) * count
        self.tail[first] = end
        if not extend:
            self.parent[start] = above
            self.place[start] = place
        children = array("I", (1,)) * count
        children[-1] = 0
        self.children[start:end] = children
        if above >= 0:
            self.children[above] += 1

    def _enter_one(self, block: int, above: int, extend: bool, place: int, generation: int) -> None:
        """The same for one id, without making arrays."""
        self.generation[block] = generation
        self.accessed[block] = self.ticks[block] = self.hits[block] = self.children[block] = 0
        self.queued[block] = self.proven[block] = 0
        if extend:
            first = self.run[block] = self.run[above]
            self.tail[first] = block + 1
        else:
            self.run[block] = block
            self.tail[block] = block + 1
            self.parent[block] = above if self.chained else -1
            self.place[block] = place
        if above >= 0 and self.chained:
            self.children[above] += 1

    def vacate(self, block: int) -> None:
        """A block is no more: its state is ABSENT, its id goes unless it has children."""
        self.state[block] = ABSENT
        self.blocks -= 1
        if block in self.retained:
            self.retained[block].book.forget(self, block)
        self.proven_blocks -= self.proven[block]
        self.unlink(block)

    def remember(self, start: int, keys: list[bytes]) -> bool:
        """New blocks have been entered from `start` on: those that the policy knows are proven.

        Of a chain only the first; False where those that follow need not be looked up.
        """
        ghosts = self.leaves.policy.ghosts
        flags = b""
        if ghosts is not None and (flags := ghosts.take(keys, chained=self.chained)):
            self.proven[start : start + len(keys)] = flags
            self.proven_blocks += flags.count(1)
        return not self.chained or (bool(flags) and 0 not in flags)

    def prove(self, block: int) -> None:
        """Let a block be proven."""
        self.proven_blocks += not self.proven[block]
        self.proven[block] = 1

    def unlink(self, block: int) -> None:
        """After `state[block]` became ABSENT: let go of the id unless it has children.

        Tombstones above that lose their last child go too; a block above that does is a leaf now.
        """
        children = self.children
        while not children[block]:
            key = self.key_of(block)
            del self.shards[hash(key) & SHARD_MASK][key]
            if self.odd_keys:
                self.odd_keys.pop(block, None)
            self.ids -= 1
            start = self.run[block]
            if start != block:
                above = block - 1
                self.tail[start] = block
                if self.accessed[block] > self.accessed[above]:
                    self.accessed[above] = self.accessed[block]
                    self.ticks[above] = self.ticks[block]
                self.hits[above] += self.hits[block]
            else:
                above = self.parent[block]
            self.free.give(block, block + 1)
            if above < 0:
                return
            children[above] -= 1
            if children[above]:
                return
            if self.state[above]:
                self.became_leaf(above)
                return
            block = above

    def lost_child(self, above: int) -> None:
        """A block below is no more: this one may be a leaf now, or a tombstone that goes too."""
        self.children[above] -= 1
        if self.children[above]:
            return
        if self.state[above]:
            self.became_leaf(above)
        else:
            self.unlink(above)

    # leaves

    def became_leaf(self, block: int) -> None:
        """A block lost its last child, was published, or was let go by its last lease."""
        if self.children[block]:
            return
        self.leaves.push(block)
        expiry = self.expires[block]
        if expiry != NEVER:
            heappush(self.expiry_heap, expiry << ID_BITS | block)

    def queue_of(self, block: int) -> int:
        """priority << 8 | storage + 1 of a leaf; 0: it is none, is being written or is leased."""
        return 0 if self.children[block] else self.queue_without_children(block)

    def queue_without_children(self, block: int) -> int:
        """The same for a block that has no children, or is taken to have none."""
        state = self.state[block]
        if state < DETAILED or (self.leases and self.is_leased(block)):
            return 0
        if state == DETAILED:
            detail = self.details[block]
            if detail.writing:
                return 0
            storage = detail.copies[0].storage
        else:
            storage = state - SERVING
        priority = in_force(self, block) if self.retained else self.priority[block]
        return priority << PRIORITY_SHIFT | storage + 1

    def change_policy(self, name: str) -> None:
        """Another policy from now on: what it knows is what stands in the columns.

        The leaves are queued anew by `queue_leaves`.
        """
        self.queued = array("H", bytes(2 * self.capacity))
        self.leaves = LeafQueues(self, build_policy(name, self))
        self.queued_upto = 0

    def queue_leaves(self, limit: int) -> int:
        """Queue the leaves of the next runs after a change of policy; how many were looked at."""
        seen = 0
        while self.queued_upto is not None and seen < limit:
            found = _IN_USE.search(self.state, self.queued_upto, self.size)
            if found is None:
                self.queued_upto = None
                break
            self.queued_upto = self.tail[self.run[found.start()]]
            self.leaves.push(self.queued_upto - 1)
            seen += 1
        return seen

    def is_leased(self, block: int) -> bool:
        """Whether a lease covers the block."""
        leases = self.leases
        if not leases:
            return False
        ranges = leases.get(self.run[block])
        return ranges is not None and any(item.low <= block < item.high for item in ranges)

    # access, expiry

    def touch_path(self, block: int, stamp: int, hits: int) -> None:
        """An access to a block and everything above it. The clock has been advanced for it."""
        accessed, counts, run, parent = self.accessed, self.hits, self.run, self.parent
        ticks, tick = self.ticks, self.clock
        while block >= 0:
            accessed[block] = stamp
            ticks[block] = tick
            counts[block] += hits
            block = parent[run[block]]

    def last_access(self, block: int) -> int:
        """The stamp of the last access to a block."""
        if not self.chained:
            return self.accessed[block]
        return max(self.accessed[block : self.tail[self.run[block]]])

    def blocks_behind(self, block: int) -> int:
        """How many blocks of its run come behind a block."""
        return self.tail[self.run[block]] - block - 1

    def reuse_distance(self, block: int) -> int:
        """How many blocks were accessed since the last access to a block."""
        end = self.tail[self.run[block]] if self.chained else block + 1
        return self.clock - max(self.ticks[block:end])

    def hit_count(self, block: int) -> int:
        """How many accesses counted a hit on a block since it was stored."""
        if not self.chained:
            total = self.hits[block]
        else:
            total = sum(self.hits[block : self.tail[self.run[block]]])
        detail = self.details.get(block)
        return total - detail.hits_before if detail is not None else total

    def leaf_hits(self, block: int) -> int:
        """The same for a block without children, whose hits stand all at its own id."""
        if self.state[block] == DETAILED:
            return self.hits[block] - self.details[block].hits_before
        return self.hits[block]

    def is_expired(self, block: int, now_ms: int) -> bool:
        """Whether a block's time is over; what is only being written does not expire."""
        if self.expires[block] > now_ms:
            return False
        state = self.state[block]
        if state == DETAILED:
            return any(copy.session is None for copy in self.details[block].copies)
        return state >= SERVING

    def raise_expiry(self, block: int, expiry: int) -> None:
        """Let a block and all above it live at least until `expiry`.

        Along a path expiry never grows, so the first that lives long enough ends it.
        """
        expires = self.expires
        while block >= 0 and expires[block] < expiry:
            start = self.run[block]
            low = bisect_left(expires, -expiry + 1, start, block + 1, key=int.__neg__)
            expires[low : block + 1] = array("q", (expiry,)) * (block + 1 - low)
            if low > start:
                return
            block = self.parent[start]

    # iteration

    def runs(self) -> Iterator[tuple[int, int]]:
        """The runs as (first, end) from the lowest id on; do not change the index meanwhile."""
        run, tail, state, children = self.run, self.tail, self.state, self.children
        block, size = 0, self.size
        free = self.free.ends()
        while block < size:
            end = free.get(block)
            if end is None:
                assert state[block] or children[block]
                end = tail[block]
                yield run[block], end
            block = end
