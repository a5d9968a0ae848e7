"""Reading an increment file: whole groups that are right, and what is wrong with the rest.

A file of ours is read group by group, a file of Redis request by request (FORMAT-LOG.md).
Neither is ever read into memory as a whole. Nothing of a group that is not right is handed out.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from hotplate.persist.files import Files
from hotplate.persist.group import (
    HEADER_BYTES_MAX,
    HeaderError,
    is_right,
    parse_file_header,
    parse_group_header,
)
from hotplate.resp.reader import parse_requests

_WINDOW_BYTES: Final = 1024 * 1024
_HEAD_BYTES: Final = HEADER_BYTES_MAX + 2
_PIECE_REQUESTS: Final = 1000  # of a file of Redis, handed out together
_MARK: Final = b"#GROUP "


class Piece(NamedTuple):
    """Requests that are to be run in order. `now_ms` 0: when they ran is not known."""

    requests: list[list[bytes]]
    now_ms: int
    exact_ns: int
    end: int  # the offset behind them


class DamageError(Exception):
    """What is wrong, and where. `is_tail`: nothing behind `offset` was known to be on disk."""

    def __init__(self, path: str, offset: int, size: int, why: str, *, is_tail: bool) -> None:
        super().__init__(f"{path} is damaged at offset {offset} of {size}: {why}")
        self.path = path
        self.offset = offset
        self.size = size
        self.why = why
        self.is_tail = is_tail

    @property
    def dropped(self) -> int:
        """Bytes that cutting the file would drop."""
        return self.size - self.offset


class LogReader:
    """One file. `seed` is None for a file that Redis wrote."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self.path = path
        self.size = files.size(path)
        self._window = b""
        self._window_at = 0
        try:
            header = parse_file_header(self._bytes(0, HEADER_BYTES_MAX))
        except HeaderError as error:
            raise DamageError(path, 0, self.size, str(error), is_tail=False) from error
        self.seed: int | None = None
        self.start = 0
        if header is not None:
            self.seed, self.start = header

    def pieces(self) -> Iterator[Piece]:
        """All that is right, in order; then DamageError, unless the file ends there."""
        return self._plain_pieces() if self.seed is None else self._groups(self.seed)

    def _bytes(self, offset: int, size: int) -> bytes:
        """`size` bytes at an offset, fewer at the end of the file."""
        at = offset - self._window_at
        if at < 0 or at + size > len(self._window):
            self._window = self._files.read(self.path, offset, max(size, _WINDOW_BYTES))
            self._window_at = offset
            at = 0
        return self._window[at : at + size]

    def size_before(self) -> int:
        """How long the file before this one was when this one was begun; 0: it does not say."""
        if self.seed is None:
            return 0
        head = parse_group_header(self._bytes(self.start, _HEAD_BYTES))
        if head is None or head.length or head.synced:
            return 0
        return head.exact_ns if is_right(head, b"", seed=self.seed, offset=self.start) else 0

    def knows_files_before(self) -> bool:
        """Whether a group says that all files before this one were on disk."""
        return self.seed is not None and self._first_known(0, self.seed) is not None

    # -- our own -------------------------------------------------------------------------------

    def _groups(self, seed: int) -> Iterator[Piece]:
        offset = self.start
        while offset < self.size:
            head = parse_group_header(self._bytes(offset, _HEAD_BYTES))
            if head is None:
                raise self._damage(offset, seed, "no group begins here")
            start = offset + head.size
            if start + head.length > self.size:
                raise self._damage(offset, seed, "the group is cut off")
            body = self._bytes(start, head.length)
            if not is_right(head, body, seed=seed, offset=offset):
                raise self._damage(offset, seed, "the sum of the group is wrong")
            offset = start + head.length
            requests = parse_requests(body)
            if requests is None:
                why = "the group holds something else than requests"
                raise DamageError(self.path, start, self.size, why, is_tail=False)
            yield Piece(requests, head.now_ms, head.exact_ns, offset)

    def _damage(self, offset: int, seed: int, why: str) -> DamageError:
        """Say what is wrong at `offset`, and whether what follows was known to be on disk."""
        known = self._first_known(offset, seed)
        if known is not None:
            why = f"{why}, yet it was on disk when the group at {known} was written"
        return DamageError(self.path, offset, self.size, why, is_tail=known is None)

    def _first_known(self, damaged: int, seed: int) -> int | None:
        """The first right group behind `damaged` that knew it to be on disk."""
        offset = damaged + 1
        while True:
            found = self._find(_MARK, offset)
            if found is None:
                return None
            offset = found + 1
            head = parse_group_header(self._bytes(found, _HEAD_BYTES))
            if head is None or found + head.size + head.length > self.size:
                continue
            body = self._bytes(found + head.size, head.length)
            if is_right(head, body, seed=seed, offset=found):
                if head.synced > damaged:
                    return found
                offset = found + head.size + head.length

    def _find(self, mark: bytes, offset: int) -> int | None:
        while offset < self.size:
            data = self._bytes(offset, _WINDOW_BYTES)
            found = data.find(mark)
            if found >= 0:
                return offset + found
            if len(data) < _WINDOW_BYTES:
                return None
            offset += len(data) - len(mark) + 1
        return None

    # -- those of Redis ------------------------------------------------------------------------

    def _plain_pieces(self) -> Iterator[Piece]:
        requests: list[list[bytes]] = []
        whole = offset = 0  # `whole`: behind the last request outside of a transaction
        taken = 0  # of `requests`, those outside of an open transaction
        damage: DamageError | None = None
        is_open = False
        while offset < self.size:
            try:
                request, offset = self._plain_request(offset)
            except DamageError as error:
                damage = error
                break
            if request:
                requests.append(request)
                word = request[0].upper() if len(request) == 1 else b""
                is_open = word == b"MULTI" or (is_open and word != b"EXEC")
            if not is_open:
                whole, taken = offset, len(requests)
                if taken >= _PIECE_REQUESTS:
                    yield Piece(requests, 0, 0, whole)
                    requests, taken = [], 0
        if taken:
            yield Piece(requests[:taken], 0, 0, whole)
        if is_open and (damage is None or damage.is_tail):
            why = "a transaction has no end"
            raise DamageError(self.path, whole, self.size, why, is_tail=True)
        if damage is not None:
            raise damage

    def _plain_request(self, offset: int) -> tuple[list[bytes], int]:
        """The request at `offset`, empty for a line that Redis skips; also the offset behind it."""
        begin = offset
        line, offset = self._line(begin, begin)
        if line.startswith(b"#"):
            if line.startswith(_MARK):
                raise self._malformed(begin, "a group, but the file has no first line of ours")
            return [], offset
        count = self._number(line, b"*", begin)
        request: list[bytes] = []
        for _ in range(count):
            line, offset = self._line(offset, begin)
            size = self._number(line, b"$", begin)
            if offset + size + 2 > self.size:
                raise self._cut_off(begin)
            data = self._bytes(offset, size + 2)
            if not data.endswith(b"\r\n"):
                raise self._malformed(begin, "an argument does not end where it should")
            request.append(data[:-2])
            offset += size + 2
        return request, offset

    def _line(self, offset: int, begin: int) -> tuple[bytes, int]:
        data = self._bytes(offset, HEADER_BYTES_MAX + 1)
        end = data.find(b"\n")
        if end < 0:
            if offset + len(data) >= self.size:
                raise self._cut_off(begin)
            raise self._malformed(begin, "a line is too long")
        return data[:end].removesuffix(b"\r"), offset + end + 1

    def _number(self, line: bytes, mark: bytes, begin: int) -> int:
        digits = line[1:]
        if line[:1] != mark or not digits.isdigit() or len(digits) > 10:
            raise self._malformed(begin, f"{line[:32]!r} where {mark.decode()}<number> must stand")
        return int(digits)

    def _cut_off(self, begin: int) -> DamageError:
        why = "the last request is cut off"
        return DamageError(self.path, begin, self.size, why, is_tail=True)

    def _malformed(self, begin: int, why: str) -> DamageError:
        return DamageError(self.path, begin, self.size, why, is_tail=False)
