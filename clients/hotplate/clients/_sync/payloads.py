# Generated from _async/payloads.py by tests/tools/unasync.py: change that file and run it.
"""Payloads over the socket: a few idle connections, and the commands that carry block bytes.

Owns the payload connections of one client. Knows keys and specs as arguments only; what to read or
write is decided in `kvc.py`. Requests are pipelined, replies taken in order; a connection on which
anything but an error reply went wrong is closed, never used again.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from hotplate.clients._sync.connection import PayloadConnection, Reply
from hotplate.clients.address import Address
from hotplate.clients.errors import KVCacheError, StaleBlockError
from hotplate.clients.keys import Keys
from hotplate.clients.records import Consume, Run

Argument = bytes | memoryview
_IDLE_MAX = 4  # connections kept; more are opened when more are in use, and closed after it
_WINDOW = 32  # requests on their way without their replies taken


@dataclass(slots=True)
class Payloads:
    """The payload commands of one instance. Threads may share one object."""

    address: Address
    instance: bytes
    _idle: list[PayloadConnection] = field(default_factory=list)

    def request(self, command: Sequence[Argument]) -> Reply:
        """One command, one reply that is not an array."""
        with self._connection() as connection:
            connection.send(command)
            return connection.receive()

    def request_each(self, commands: Iterable[Sequence[Argument]]) -> None:
        """Commands that answer OK, pipelined. The first error is raised when all were answered.

        The views of a command may be reused only after the call.
        """
        failure: KVCacheError | None = None
        with self._connection() as connection:
            waiting = 0
            for command in commands:
                connection.send(command)
                waiting += 1
                if waiting >= _WINDOW:
                    answer = _answer(connection)
                    failure = failure or answer
                    waiting -= 1
            for _ in range(waiting):
                answer = _answer(connection)
                failure = failure or answer
        if failure is not None:
            raise failure

    def read_pieces(
        self,
        pieces: Sequence[Run],
        keys: Keys,
        block_bytes: int,
        options: Sequence[bytes],
        consume: Consume,
    ) -> None:
        """Hand the payloads of each piece to `consume`; StaleBlockError if one is gone.

        The next piece is asked for before one is consumed, so that the server is never idle.
        """
        buffer = memoryview(bytearray(block_bytes * max(piece.count for piece in pieces)))
        with self._connection() as connection:
            for number, piece in enumerate(pieces):
                if number == 0:
                    self._ask(connection, piece, keys, options)
                if number + 1 < len(pieces):
                    self._ask(connection, pieces[number + 1], keys, options)
                missing = self._receive_piece(connection, piece, block_bytes, buffer)
                if missing:
                    raise StaleBlockError(f"{missing} blocks from index {piece.first} on are gone")
                consume(piece.first, piece.count, buffer[: piece.count * block_bytes])

    def _ask(
        self,
        connection: PayloadConnection,
        piece: Run,
        keys: Keys,
        options: Sequence[bytes],
    ) -> None:
        wanted = keys[piece.first : piece.first + piece.count]
        command = [b"KVC.MREAD", self.instance, b"EXACT", *options, *wanted.arguments]
        connection.send(command)

    @staticmethod
    def _receive_piece(
        connection: PayloadConnection, piece: Run, block_bytes: int, buffer: memoryview
    ) -> int:
        """Put one reply into `buffer`; how many blocks were missing."""
        missing = 0
        if connection.receive_array_size() != piece.count:
            raise ConnectionError(f"the server answered another number than {piece.count} blocks")
        for index in range(piece.count):
            place = buffer[index * block_bytes : (index + 1) * block_bytes]
            size = connection.receive_bulk_into(place)
            if size < 0:
                missing += 1
            elif size != block_bytes:
                raise ConnectionError(f"a payload of {size} bytes, not {block_bytes}")
        return missing

    def read_many(self, keys: Keys, options: Sequence[bytes]) -> list[bytearray | None]:
        """The payloads as MREAD answers them."""
        command = [b"KVC.MREAD", self.instance, *options, *keys.arguments]
        with self._connection() as connection:
            connection.send(command)
            found: list[bytearray | None] = []
            for _ in range(connection.receive_array_size()):
                payload = connection.receive()
                if not isinstance(payload, bytearray | None):
                    raise ConnectionError(f"the server answered {payload!r} for a payload")
                found.append(payload)
            return found

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[PayloadConnection]:
        connection = self._take()
        try:
            yield connection
        except KVCacheError:
            self._give_back(connection)
            raise
        except OSError:
            connection.close()
            self.close()  # what broke this one has likely broken the idle ones
            raise
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def _take(self) -> PayloadConnection:
        try:
            return self._idle.pop()  # not asked first: another thread may take the last one
        except IndexError:
            return PayloadConnection.open(self.address)

    def _give_back(self, connection: PayloadConnection) -> None:
        if connection.awaited == 0 and len(self._idle) < _IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()


def _answer(connection: PayloadConnection) -> KVCacheError | None:
    try:
        connection.receive()
    except KVCacheError as error:
        return error
    return None
