"""Copying blocks between storages beside the event loop.

The KV cache says what to copy and what becomes of it (kvc/tiering.py, kvc/moves.py); this does the
copying, a few moves at a time, on the threads of file IO. Every slot's sums are checked on the way:
a damaged one stops its move, nothing of it is published.
"""

from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_digest

from hotplate.kvc.model import SUM_BYTES
from hotplate.kvc.moves import CorruptError, Move

if TYPE_CHECKING:
    from hotplate.engine.engine import Engine

MOVES_AT_ONCE: Final = 3  # one of the threads of file IO is always the clients'
_NO_SUM: Final = bytes(SUM_BYTES)


class Mover:
    """Keeps moves going while there are some to make."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._closed = False
        self.under_way = 0

    def run(self, now_ms: int) -> None:
        """Begin as many moves as may be under way."""
        cache = self._engine.kvc
        while cache is not None and not self._closed and self.under_way < MOVES_AT_ONCE:
            move = cache.next_move(now_ms)
            if move is None or not self._begin(move, now_ms):
                return

    def close(self) -> None:
        """The storages are about to be closed: what ends from now on is not looked at."""
        self._closed = True

    def _begin(self, move: Move, now_ms: int) -> bool:
        def done(result: Exception | None) -> None:
            self.under_way -= 1
            cache = self._engine.kvc
            if not self._closed and cache is not None:
                ended_ms = self._engine.clock.now_ms()
                cache.end_move(move, result, ended_ms)
                self.run(ended_ms)

        blocking = move.target_store if move.target_store.blocking else move.source_store
        lane = blocking.name
        try:
            self._engine.file_io.submit(copy_slots, move, done=done, lane=lane)
        except OSError as error:  # the queue is full of clients' jobs
            assert self._engine.kvc is not None
            self._engine.kvc.end_move(move, error, now_ms)
            return False
        self.under_way += 1
        return True


def copy_slots(move: Move) -> None:
    """Copy slot by slot. CorruptError for one whose bytes do not fit their sums; OSError.

    Blocks that came without sums (storages of type `file`) have those of the copied bytes then.
    """
    shape, found = move.shape, bytearray()
    for offset in range(move.count):
        data = move.source_store.read(shape, move.source_place + offset, 0, shape.payload_bytes)
        view, start = memoryview(data), 0
        for size in move.sizes:
            own = xxh3_64_digest(view[start : start + size])
            if move.sums[len(found) : len(found) + SUM_BYTES] not in (own, _NO_SUM):
                raise CorruptError(offset)
            found += own
            start += size
        move.target_store.write(shape, move.target_place + offset, 0, data)
    move.sums = bytes(found)
