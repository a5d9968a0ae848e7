"""Idempotent producers of a stream (XADD IDMP): which messages were added already, and as which id.

Per producer the last `size_max` message ids, each for `duration_s`. Expired ones are forgotten when
their producer adds, when it is among those silent for longest, and before anything is counted.
Callers pass the time.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

DURATION_S: Final = 100
DURATION_S_MAX: Final = 86_400
SIZE: Final = 100
SIZE_MAX: Final = 10_000
_DIGEST_BYTES: Final = 16

_Known = OrderedDict[bytes, tuple[int, int]]  # message -> (entry id, when it was added)


def digest_of(fields: list[bytes]) -> bytes:
    """The message id of a message without one: a digest of its fields and values in order."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for field in fields:
        digest.update(b"%d:" % len(field))
        digest.update(field)
    return digest.digest()


class Producers:
    """The memory of one stream; `added` and `duplicates` count since the stream was made."""

    __slots__ = ("_tracked", "added", "duplicates", "duration_s", "producers", "size_max")

    def __init__(self) -> None:
        self.duration_s = DURATION_S
        self.size_max = SIZE
        self.added = 0
        self.duplicates = 0
        self.producers: OrderedDict[bytes, _Known] = OrderedDict()  # silent for longest first
        self._tracked = 0

    def known(self, producer: bytes, message: bytes, now_ms: int) -> int | None:
        """The id of an entry that this message became already."""
        messages = self.producers.get(producer)
        found = None if messages is None else messages.get(message)
        if found is None or self._is_expired(found[1], now_ms):
            return None
        self.duplicates += 1
        return found[0]

    def remember(self, producer: bytes, message: bytes, entry_id: int, now_ms: int) -> None:
        """The message became an entry."""
        self.forget_expired(now_ms)
        messages = self.producers.setdefault(producer, OrderedDict())
        self._drop_expired(messages, now_ms)
        while len(messages) >= self.size_max:
            messages.popitem(last=False)
            self._tracked -= 1
        messages[message] = (entry_id, now_ms)
        self.producers.move_to_end(producer)
        self._tracked += 1
        self.added += 1

    def restore(self, producer: bytes, message: bytes, entry_id: int, added_ms: int) -> None:
        """Know a message again, and its producer as the one that added last; not counted."""
        messages = self.producers.setdefault(producer, OrderedDict())
        self._tracked += message not in messages
        messages[message] = (entry_id, added_ms)

    def forget_expired(self, now_ms: int) -> None:
        """Drop producers, silent for longest first, as long as they have nothing unexpired."""
        while self.producers:
            producer, messages = next(iter(self.producers.items()))
            self._drop_expired(messages, now_ms)
            if messages:
                return
            del self.producers[producer]

    def tracked(self, now_ms: int) -> tuple[int, int]:
        """How many producers and how many of their messages are remembered."""
        for messages in self.producers.values():
            self._drop_expired(messages, now_ms)
        self.forget_expired(now_ms)
        return len(self.producers), self._tracked

    def configure(self, duration_s: int, size_max: int) -> None:
        """New limits; where they differ from the old ones all messages are forgotten."""
        if (duration_s, size_max) != (self.duration_s, self.size_max):
            self.duration_s = duration_s
            self.size_max = size_max
            self.producers = OrderedDict()
            self._tracked = 0

    def copy(self) -> "Producers":
        """An equal one that shares nothing that can change."""
        copied = Producers()
        copied.configure(self.duration_s, self.size_max)
        copied.added, copied.duplicates = self.added, self.duplicates
        copied.producers = OrderedDict(
            (producer, OrderedDict(messages)) for producer, messages in self.producers.items()
        )
        copied._tracked = self._tracked
        return copied

    def _is_expired(self, added_ms: int, now_ms: int) -> bool:
        return now_ms - added_ms >= self.duration_s * 1000

    def _drop_expired(self, messages: _Known, now_ms: int) -> None:
        while messages and self._is_expired(next(iter(messages.values()))[1], now_ms):
            messages.popitem(last=False)
            self._tracked -= 1
