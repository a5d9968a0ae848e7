"""What the naive cache (naive_cache.py) keeps: a node a key, copies, sessions, leases, groups."""

from dataclasses import dataclass, field

NEVER = 1 << 62


class Refused(Exception):
    """A command was refused: the error's code and text."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


@dataclass(eq=False)
class NaiveCopy:
    storage: str
    specs: int
    size: int
    sums: bytes = b""
    session: "NaiveSession | None" = None
    position: int = 0


@dataclass(eq=False)
class Node:
    key: bytes
    parent: bytes | None
    copies: list[NaiveCopy] = field(default_factory=list)
    stamp: int = 0
    accessed_ms: int = 0
    hits: int = 0
    created_ms: int = 0
    expires_ms: int = NEVER
    priority: int = 50
    tick: int = 0
    created_stamp: int = 0
    proven: bool = False
    entered: tuple[int, int] | None = None  # the main queue of s3fifo, later than it was stored
    hits_at_entry: int = 0
    retained: tuple[int, int, int] | None = None  # priority, since, for so long
    leases: "set[NaiveLease]" = field(default_factory=set)

    @property
    def serving(self) -> bool:
        return any(copy.session is None for copy in self.copies)

    @property
    def only_writing(self) -> bool:
        return not self.serving

    def retained_since(self) -> int:
        """A hit renews a priority above the usual one."""
        assert self.retained is not None
        priority, since, _ = self.retained
        return max(since, self.accessed_ms) if priority > 50 else since

    def priority_at(self, now: int) -> int:
        """Every quarter of its time halves the distance to 50."""
        if self.retained is None:
            return self.priority
        priority, _, span = self.retained
        age = now - self.retained_since()
        if age >= span:
            return 50
        distance = abs(priority - 50)
        for quarter in (1, 2, 3):
            if age * 4 >= quarter * span:
                distance //= 2
        return 50 + distance if priority > 50 else 50 - distance

    @property
    def writing(self) -> bool:
        return any(copy.session is not None for copy in self.copies)


@dataclass(eq=False)
class NaiveSession:
    instance: "NaiveInstance"
    deadline_ms: int
    given: list[bytes]
    positions: list[int]
    copies: list[NaiveCopy]
    keys: list[bytes]
    lost: set[int] = field(default_factory=set)
    id: bytes = b""


@dataclass(eq=False)
class NaiveLease:
    instance: "NaiveInstance"
    end_ms: int
    nodes: set[Node] = field(default_factory=set)
    removed: dict[bytes, list[NaiveCopy]] = field(default_factory=dict)
    id: bytes = b""


@dataclass(eq=False)
class Doomed:
    storage: str
    size: int
    due_ms: int
    leaving: bool = True
    leased: int = 0
    holders: set[NaiveLease] = field(default_factory=set)


@dataclass(eq=False)
class NaiveGroup:
    name: str
    storages: list[str]
    quota: int | None = None
    type_quotas: dict[str, int] = field(default_factory=dict)
    high: float = 1.0
    low: float = 1.0
    grace_ms: int = 0
    ttl_ms: int | None = None
    max_blocks: int | None = None
    doomed: list[Doomed] = field(default_factory=list)
    instances: "list[NaiveInstance]" = field(default_factory=list)
    reclaiming: set[str] = field(default_factory=set)
    policy: str = "hslru"
    retain: float = 0.2
    given: dict[str, int] = field(default_factory=dict)
    given_floor: int = 0

    def by_storage(self, storage: str) -> tuple[int, int, int]:
        """Bytes WRITING, SERVING, DELETING."""
        writing = serving = deleting = 0
        for instance in self.instances:
            for node in instance.nodes.values():
                for copy in node.copies:
                    if copy.storage == storage:
                        writing += copy.size if copy.session else 0
                        serving += 0 if copy.session else copy.size
            for session in instance.sessions:
                deleting += sum(
                    session.copies[position].size
                    for position in session.lost
                    if session.copies[position].storage == storage
                )
        deleting += sum(item.size for item in self.doomed if item.storage == storage)
        return writing, serving, deleting

    def used(self, storages: set[str]) -> int:
        return sum(sum(self.by_storage(storage)) for storage in storages)

    @property
    def blocks(self) -> int:
        return sum(instance.blocks for instance in self.instances)

    @property
    def leased_bytes(self) -> int:
        live = sum(
            sum(instance.sizes)
            for instance in self.instances
            for node in instance.nodes.values()
            if node.leases
        )
        return live + sum(item.leased for item in self.doomed if item.holders)


@dataclass(eq=False)
class NaiveInstance:
    name: str
    group: NaiveGroup
    chained: bool
    sizes: list[int]
    nodes: dict[bytes, Node] = field(default_factory=dict)
    sessions: list[NaiveSession] = field(default_factory=list)
    guarded: set[bytes] = field(default_factory=set)  # what a write in progress builds on
    clock: int = 0
    capacity: int = 0
    ghosts: list[list[bytes]] = field(default_factory=lambda: [[]])
    entries: tuple[int, int] = (-1, 0)

    @property
    def all_specs(self) -> int:
        return (1 << len(self.sizes)) - 1

    @property
    def blocks(self) -> int:
        return sum(bool(node.copies) for node in self.nodes.values())

    def serving_bytes(self, storages: set[str] | None) -> int:
        return sum(
            copy.size
            for node in self.nodes.values()
            for copy in node.copies
            if copy.session is None and (storages is None or copy.storage in storages)
        )

    def size_of(self, specs: int) -> int:
        return sum(size for number, size in enumerate(self.sizes) if specs >> number & 1)

    def has_children(self, key: bytes) -> bool:
        return self.chained and any(node.parent == key for node in self.nodes.values())

    def path(self, key: bytes | None) -> list[Node]:
        nodes = []
        while key is not None:
            node = self.nodes[key]
            nodes.append(node)
            key = node.parent
        return nodes
