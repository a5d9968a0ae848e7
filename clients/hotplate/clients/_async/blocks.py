"""What a lookup found and what a reservation holds, with the ways to move their bytes.

Both know where each block lies. Payloads are handed over in runs of blocks that lie side by side,
so that whoever fills or empties them works on few large pieces.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from hotplate.clients._async.stream import run_blocking
from hotplate.clients.errors import KVCacheError
from hotplate.clients.keys import Keys
from hotplate.clients.records import Consume, Produce, Run, is_complete, runs_of
from hotplate.clients.segments import UnreachableError
from hotplate.wire.schema import Locations

if TYPE_CHECKING:
    from hotplate.clients._async.kvc import AsyncKVCache

_SUM_BYTES = 8


class AsyncMatch:
    """Stored blocks of a key list. As a context manager it gives its lease back at the end."""

    def __init__(
        self,
        cache: "AsyncKVCache",
        *,
        keys: Keys,
        matched: int,
        start: int,
        lease: bytes | None,
        locations: Locations,
        indexes: Sequence[int],
    ) -> None:
        self.keys = keys
        self.matched = matched  # how many blocks were found
        self.start = start  # the index of the first key that was looked at; -1: no window
        self.lease = lease
        self.locations = locations
        self._cache = cache
        self._runs = runs_of(locations, indexes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    @property
    def block_bytes(self) -> int:
        """The payload of one block, all specs."""
        return sum(spec.size_bytes for spec in self.locations.specs)

    @property
    def found(self) -> list[int]:
        """The indexes of the keys that were found, ascending."""
        indexes = {index for run in self._runs for index in range(run.first, run.first + run.count)}
        return sorted(indexes)

    async def read_runs(self, consume: Consume) -> str:
        """Hand all found blocks to `consume(first, count, payloads)`; which way they took:
        `mapped`, `socket` or `mixed`.

        The view holds `count` payloads side by side, of the keys from index `first` on, and is
        valid only during the call, which may come from another thread. StaleBlockError: blocks
        went away meanwhile, and what was handed over is worthless. A lease keeps that from
        happening.
        """
        ways: set[str] = set()
        remote: list[Run] = []
        for run in self._runs:
            for piece in run.pieces():
                if await self._read_file(piece, consume):
                    ways.add("mapped")
                else:
                    remote.append(piece)
        if remote:
            ways.add("socket")
            options = [] if self.lease is None else [b"LEASE", self.lease]
            await self._cache.payloads.read_pieces(
                remote, self.keys, self.block_bytes, options, consume
            )
        return ways.pop() if len(ways) == 1 else "mixed"

    async def read_into(self, target: Any) -> int:
        """Put the payloads of all found blocks side by side into a writable buffer; the bytes.

        ValueError, and nothing is read, where `target` is too small.
        """
        view = memoryview(target).cast("B")
        size = self.block_bytes
        places = {index: number * size for number, index in enumerate(self.found)}
        if len(view) < len(places) * size:
            raise ValueError(f"{len(places) * size} bytes do not fit a buffer of {len(view)}")

        def copy(first: int, count: int, payloads: memoryview) -> None:
            place = places[first]
            view[place : place + count * size] = payloads

        await self.read_runs(copy)
        return len(places) * size

    async def read(self) -> dict[int, bytes]:
        """The payload of every found block by the index of its key."""
        size = self.block_bytes
        blocks: dict[int, bytes] = {}

        def keep(first: int, count: int, payloads: memoryview) -> None:
            for number in range(count):
                blocks[first + number] = bytes(payloads[number * size : (number + 1) * size])

        await self.read_runs(keep)
        return blocks

    async def extend(self, lease_ms: int) -> bool:
        """Hold the lease for at least so long from now; False where there is none any more."""
        if self.lease is None:
            return False
        reply = await self._cache.execute(
            "KVC.LEASE", self._cache.id, self.lease, "EXTEND", lease_ms
        )
        return bool(reply)

    async def release(self) -> None:
        """Give the lease back; may be repeated."""
        lease, self.lease = self.lease, None
        if lease is not None:
            await self._cache.execute("KVC.LEASE", self._cache.id, lease, "RELEASE")

    async def _read_file(self, piece: Run, consume: Consume) -> bool:
        """Read a piece from its segment file; False where that is not possible."""
        segments = await self._cache.segments()
        if segments is None or not is_complete(self.locations, piece):
            return False
        sizes = [spec.size_bytes for spec in self.locations.specs]
        try:
            await run_blocking(segments.read, piece, self.keys, sizes, consume)
        except UnreachableError as error:
            self._cache.unreachable(error)
            return False
        return True


class AsyncReservation:
    """Room for new blocks, until it is published, aborted, or its time is over.

    `new` holds the indexes, in the key list as given, of the blocks to write; others are stored
    already or being written by somebody else. As a context manager it publishes at the end, or
    aborts when an exception leaves it.
    """

    def __init__(
        self,
        cache: "AsyncKVCache",
        *,
        keys: Keys,
        session: bytes | None,
        new: list[int],
        locations: Locations,
    ) -> None:
        self.keys = keys
        self.session = session  # None: nothing to write
        self.new = new
        self.locations = locations
        self.published: int | None = None  # blocks, once published
        self._cache = cache
        self._positions = {index: position for position, index in enumerate(new)}
        self._runs = runs_of(locations, new)
        self._sums: dict[int, bytes] = {}  # position -> sums of what was placed in a file

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: object, error: BaseException | None, _traceback: object
    ) -> None:
        if self.session is None or self.published is not None:
            return
        if error is None:
            await self.publish()
            return
        try:
            await self.abort()
        except (KVCacheError, OSError) as failure:
            # What failed first tells more; the server drops the session at its deadline.
            error.add_note(f"the reservation could not be aborted either: {failure}")

    @property
    def block_bytes(self) -> int:
        """The payload of one block, all specs."""
        return sum(spec.size_bytes for spec in self.locations.specs)

    async def write(self, index: int, payload: Any, *, spec: str | None = None) -> None:
        """Write the block of key `index` (one of `new`), or one spec of it, over the socket.

        KeyError for an index that is not to be written.
        """
        command = self._write_command(index, memoryview(payload).cast("B"), spec)
        await self._cache.payloads.request(command)
        self._sums.pop(self._positions[index], None)  # from now on the server knows it

    async def write_runs(self, produce: Produce) -> str:
        """Let `produce(first, count, payloads)` fill the payloads of all new blocks, in place where
        that is possible; which way they took: `mapped`, `socket` or `mixed`.

        The view is writable, holds room for `count` payloads side by side, of the keys from index
        `first` on, and is valid only during the call, which may come from another thread.
        """
        ways: set[str] = set()
        remote: list[Run] = []
        for run in self._runs:
            for piece in run.pieces():
                if await self._write_file(piece, produce):
                    ways.add("mapped")
                else:
                    remote.append(piece)
        if remote:
            ways.add("socket")
            size = self.block_bytes
            buffer = memoryview(bytearray(size * max(piece.count for piece in remote)))
            for piece in remote:
                produce(piece.first, piece.count, buffer[: size * piece.count])
                await self._cache.payloads.request_each(
                    self._write_command(
                        piece.first + number, buffer[number * size : (number + 1) * size], None
                    )
                    for number in range(piece.count)
                )
        return ways.pop() if len(ways) == 1 else "mixed"

    async def publish(self, blocks: int | None = None) -> int:
        """Make the new blocks visible, all at once, or only the first `blocks` of them.

        How many were published. The rest is freed; a block that was never written is a
        ChecksumError, and the reservation stays open.
        """
        if self.session is None:
            return 0
        count = len(self.new) if blocks is None else blocks
        command: list[Any] = ["KVC.FINISH", self._cache.id, self.session]
        command += ["ALL"] if blocks is None else ["PREFIX", blocks]
        if self._sums:
            unknown = bytes(_SUM_BYTES * len(self.locations.specs))
            sums = [self._sums.get(position, unknown) for position in range(count)]
            command += ["CHECKSUMS", b"".join(sums)]
        published, _ = await self._cache.execute(*command)
        self.published = int(published)
        return self.published

    async def abort(self) -> None:
        """Give the room back; nothing becomes visible."""
        if self.session is not None and self.published is None:
            await self._cache.execute("KVC.FINISH", self._cache.id, self.session, "NONE")
            self.published = 0

    async def _write_file(self, piece: Run, produce: Produce) -> bool:
        """Write a piece to its segment file; False where that is not possible."""
        segments = await self._cache.segments()
        if segments is None or not is_complete(self.locations, piece):
            return False
        sizes = [spec.size_bytes for spec in self.locations.specs]
        try:
            sums = await run_blocking(segments.write, piece, self.keys.width, sizes, produce)
        except UnreachableError as error:
            self._cache.unreachable(error)
            return False
        width = _SUM_BYTES * len(sizes)
        for number in range(piece.count):
            position = self._positions[piece.first + number]
            self._sums[position] = sums[number * width : (number + 1) * width]
        return True

    def _write_command(
        self, index: int, payload: memoryview, spec: str | None
    ) -> list[bytes | memoryview]:
        if self.session is None:
            raise KeyError(index)
        option = [] if spec is None else [b"SPEC", spec.encode()]
        position = b"%d" % self._positions[index]
        return [b"KVC.WRITE", self._cache.id, self.session, position, *option, payload]
