"""A storage with its health: every call that fails, or takes too long, leaves a note.

Giving slots back and publishing are done for the caller even if the storage fails to write them
down: the note makes the storage fail, its copies are hidden, and its columns are written once more
before it works again. Whatever else fails is heard by the caller too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from hotplate.blocks import Extent, Found, Shape, StoreFullError
from hotplate.clock import Clock
from hotplate.errors import StorageIOError
from hotplate.tiers.file import BlockLostError
from hotplate.tiers.health import Health


class Store(Protocol):
    """What is watched: a BlockStore that can look after itself."""

    name: str
    kind: str
    blocking: bool
    segment_bytes: int
    capacity_bytes: int

    def reserve(self, shape: Shape, count: int) -> list[Extent]: ...
    def release(self, shape: Shape, place: int, count: int) -> None: ...
    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None: ...
    def generation(self, shape: Shape, place: int) -> int: ...
    def view(self, shape: Shape, place: int) -> memoryview: ...
    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None: ...
    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes | memoryview: ...
    def sync(self, places: Sequence[int]) -> None: ...
    def locate(self, shape: Shape, place: int) -> tuple[str, int, int]: ...
    def slots_from(self, place: int) -> int: ...
    def describe(self) -> Mapping[str, Any]: ...
    def close(self, *, remove: bool) -> None: ...
    def found(self) -> Iterator[Found]: ...
    def adopt(self, place: int, count: int, generation: int) -> list[Found]: ...
    def settle(self) -> int: ...
    def examine(self, need_bytes: int, *, probe: bool) -> frozenset[int]: ...
    def reopen(self) -> frozenset[int]: ...
    def lose(self, indices: frozenset[int]) -> None: ...
    def restore(self) -> None: ...


class WatchedStore:
    """A BlockStore and KeptStore. `slow_ms` is read at every call that does file IO."""

    __slots__ = (
        "_clock",
        "_slow_ms",
        "adopt",
        "blocking",
        "found",
        "generation",
        "health",
        "inner",
        "kind",
        "locate",
        "name",
        "settle",
        "slots_from",
    )

    def __init__(self, inner: Store, clock: Clock, slow_ms: Callable[[], int]) -> None:
        self.inner = inner
        self.health = Health()
        self._clock = clock
        self._slow_ms = slow_ms
        self.name = inner.name
        self.kind = inner.kind
        self.blocking = inner.blocking
        # These cannot fail, or fail before anybody depends on them: no detour.
        self.generation = inner.generation
        self.locate = inner.locate
        self.found = inner.found
        self.adopt = inner.adopt
        self.settle = inner.settle
        self.slots_from = inner.slots_from

    @property
    def capacity_bytes(self) -> int:
        """What it may take."""
        return self.inner.capacity_bytes

    @capacity_bytes.setter
    def capacity_bytes(self, value: int) -> None:
        self.inner.capacity_bytes = value

    def reserve(self, shape: Shape, count: int) -> list[Extent]:
        """Slots, all or StoreFullError. OSError if the storage fails.

        A disk that is full below the storage's capacity is a failure of the disk. Shared memory
        that is full is not: what the storage has of it works as before.
        """
        try:
            return self.inner.reserve(shape, count)
        except StoreFullError as error:
            if self.blocking and isinstance(error.__cause__, OSError):
                self.health.note(error.__cause__, self.inner.segment_bytes)
            raise
        except OSError as error:
            self.health.note(error)
            raise

    def release(self, shape: Shape, place: int, count: int) -> None:
        """Give slots back. They are free also if the storage fails to write that down."""
        try:
            self.inner.release(shape, place, count)
        except OSError as error:
            self.health.note(error)

    def publish(self, shape: Shape, place: int, keys: bytes, sums: bytes) -> None:
        """Mark slots as serving. If the storage fails to write that down, it is failing now."""
        try:
            self.inner.publish(shape, place, keys, sums)
        except OSError as error:
            self.health.note(error)

    def view(self, shape: Shape, place: int) -> memoryview:
        """The slot's payload. StorageIOError if its bytes are gone."""
        try:
            return self.inner.view(shape, place)
        except OSError as error:
            self.health.note(error)
            raise StorageIOError(f"storage {self.name}: {error.strerror}") from error

    def write(self, shape: Shape, place: int, offset: int, data: memoryview | bytes) -> None:
        """(any thread) Write payload. Raises OSError."""
        self._timed(self.inner.write, shape, place, offset, data)

    def read(self, shape: Shape, place: int, offset: int, size: int) -> bytes | memoryview:
        """(any thread) Read payload. Raises OSError."""
        data: bytes | memoryview = self._timed(self.inner.read, shape, place, offset, size)
        return data

    def sync(self, places: Sequence[int]) -> None:
        """(any thread) Make slots durable. Raises OSError."""
        self._timed(self.inner.sync, places)

    def examine(self, need_bytes: int, *, probe: bool) -> frozenset[int]:
        """(any thread) What is lost; see the store's own. A slow probe is a failed one."""
        number = self.health.begin(self._clock.monotonic_ns())
        try:
            return self.inner.examine(need_bytes, probe=probe)
        finally:
            self.health.end(number, self._clock.monotonic_ns(), self._slow_ms())

    def describe(self) -> Mapping[str, Any]:
        """The store's figures, and how it fares."""
        health = self.health
        return {
            **self.inner.describe(),
            "failure": health.failure or None,
            "failing_since_ms": health.failing_since_ms if health.failure else None,
            "errors": health.errors,
        }

    def close(self, *, remove: bool) -> None:
        """Let go of files and directory."""
        self.inner.close(remove=remove)

    def _timed(self, call: Callable[..., Any], *args: Any) -> Any:
        health, clock = self.health, self._clock
        number = health.begin(clock.monotonic_ns())
        try:
            return call(*args)
        except BlockLostError:
            raise  # the storage is well
        except OSError as error:
            health.note(error)
            raise
        finally:
            health.end(number, clock.monotonic_ns(), self._slow_ms())
