"""What the server does by itself with pending entries (XGROUP POLICY).

    pending with an owner ──visibility runs out──► released, handed out again by `>` after backoff
            │  ▲                                       │
            │  └────────────── XREADGROUP ─────────────┘
            └──after MAXDELIVER deliveries──► the DEAD stream, with _origin _id _deliveries _reason

Where DEAD holds another type, or can take no entry, the entry is parked: pending, nobody's, and
never handed out; it moves once DEAD can take it. An entry that was deleted from its stream is
pending no more when its visibility runs out.

`PolicySweep` knows the keys whose groups have a policy, and applies it a few times a second; the
commands that read a group apply it first, so that what they see never depends on the sweep. A key
that was renamed is swept again from the next read of its group on.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from hotplate.keyspace.database import Database
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import build_frame, fields_of, format_id
from hotplate.keyspace.stream_group import DELIVERIES_MAX, Group, Policy

log = logging.getLogger("hotplate.keyspace")

ENTRIES_MAX: Final = 1000  # of one group in one pass
KEYS_MAX: Final = 1000  # in one pass of the sweep
_NEVER_MS: Final = 2**62  # when parked entries become available: failed ones, and expired ones
_PARKED: Final[tuple[tuple[int, bytes], ...]] = (
    (_NEVER_MS, b"failed"),
    (_NEVER_MS + 1, b"expired"),
)
_REPORT_MS: Final = 60_000  # of the same trouble at most once in this time


def give_back(group: Group, entry_id: int, deliveries: int, now_ms: int) -> None:
    """Release an entry that a consumer gave back; the policy says for how long, or for ever."""
    policy = group.policy
    if policy is None or not policy.is_dead(deliveries):
        delay_ms = 0 if policy is None else policy.delay_ms(deliveries)
        group.release(entry_id, deliveries, now_ms + delay_ms if delay_ms else 0)
    else:
        group.release(entry_id, deliveries, _NEVER_MS)


def _tell(db: Database, word: bytes, key: bytes, group: Group, *about: bytes) -> None:
    """Note what became of a group's pending entry, while there is a log."""
    if db.journal is not None:
        stream = db.shard_of(key)[key].value
        assert isinstance(stream, Stream)
        name = next(name for name, other in stream.groups.items() if other is group)
        db.journal.note(db.index, word, key, name, *about)


def tell_released(db: Database, key: bytes, group: Group, entry_id: int) -> None:
    """Note that an entry was given back, and when it may be handed out again."""
    if db.journal is not None:
        deliveries, available_ms = group.release_of(entry_id)
        about = (format_id(entry_id), b"%d" % deliveries, b"%d" % available_ms)
        _tell(db, b"XRELEASE", key, group, *about)


def apply_policy(db: Database, key: bytes, stream: Stream, group: Group, now_ms: int) -> int:
    """Release and move what is due, about ENTRIES_MAX entries at most; how many."""
    policy = group.policy
    if policy is None:
        return 0
    done = 0
    if db.journal is not None:
        db.journal.keep(db, key)
        db.journal.keep(db, policy.dead)
    if policy.visibility_ms:
        due = list(islice(group.owned_since(now_ms - policy.visibility_ms), ENTRIES_MAX))
        for entry_id, delivery in due:
            if stream.get(entry_id) is None:
                group.forget((entry_id,))
                _tell(db, b"XACK", key, group, format_id(entry_id))
                continue
            available_ms = 0
            if policy.is_dead(delivery.deliveries):
                available_ms = _NEVER_MS + 1
            elif delay_ms := policy.delay_ms(delivery.deliveries):
                available_ms = delivery.at_ms + policy.visibility_ms + delay_ms
            group.release(entry_id, delivery.deliveries, available_ms)
            tell_released(db, key, group, entry_id)
        done = len(due)
    if done:
        db.noted(key, "xnack")
    if policy.deliveries_max:
        done += _bury(db, key, stream, group, now_ms)
    return done


def _bury(db: Database, key: bytes, stream: Stream, group: Group, now_ms: int) -> int:
    """Move parked entries to the dead stream, where it can take them; how many."""
    policy = group.policy
    assert policy is not None
    moved = 0
    for available_ms, reason in _PARKED:
        for entry_id, delivery in list(islice(group.released_at(available_ms), ENTRIES_MAX)):
            frame = stream.get(entry_id)
            if frame is not None:
                dead = _dead_stream(db, policy, now_ms)
                dead_id = None if dead is None else dead.next_id(now_ms)
                if dead is None or dead_id is None:
                    return moved
                why = b"fatal" if delivery.deliveries == DELIVERIES_MAX else reason
                about = [b"_origin", key, b"_id", format_id(entry_id)]
                about += [b"_deliveries", b"%d" % delivery.deliveries, b"_reason", why]
                fields = fields_of(frame) + about
                dead.append(dead_id, build_frame(format_id(dead_id), fields))
                db.changed(policy.dead, "xadd")
                if db.journal is not None:
                    dead_text = format_id(dead_id)
                    db.journal.note(db.index, b"XADD", policy.dead, dead_text, *fields)
            group.forget((entry_id,))
            _tell(db, b"XACK", key, group, format_id(entry_id))
            moved += 1
    return moved


def _dead_stream(db: Database, policy: Policy, now_ms: int) -> Stream | None:
    """The stream for dead letters, made where there is none; None where it can't be one."""
    entry = db.lookup_write(policy.dead, now_ms)
    if entry is None:
        stream = Stream()
        db.assign(policy.dead, stream, now_ms)
        return stream
    return entry.value if isinstance(entry.value, Stream) else None


class PolicySweep:
    """Applies the policies of all groups that have one, some keys a pass.

    `wake(database, key)` tells those who wait for the key; it answers whether there are any.
    """

    __slots__ = ("_claimed", "_databases", "_keys", "_known", "_reported_ms", "_wake", "is_frozen")

    def __init__(self, databases: Sequence[Database], wake: Callable[[int, bytes], bool]) -> None:
        self._databases = databases
        self._wake = wake
        self._keys: deque[tuple[int, bytes]] = deque()
        self._known: set[tuple[int, bytes]] = set()
        self._claimed: set[tuple[int, bytes]] = set()
        self._reported_ms: int | None = None
        self.is_frozen = False  # while the log is read, which says what policies did

    def watch(self, db: Database, key: bytes) -> None:
        """A group of this key has a policy."""
        place = (db.index, key)
        if place not in self._known:
            self._known.add(place)
            self._keys.append(place)

    def watch_claim(self, db: Database, key: bytes) -> None:
        """Somebody waits until entries of this key have been idle for long enough."""
        self._claimed.add((db.index, key))

    def apply(self, db: Database, key: bytes, stream: Stream, group: Group, now_ms: int) -> None:
        """Do now what is due in a group, before a command looks at it."""
        if group.policy is not None:
            self.watch(db, key)
            if not self.is_frozen and apply_policy(db, key, stream, group, now_ms):
                self._wake(db.index, key)

    def run(self, now_ms: int) -> bool:
        """One pass; whether there is more to do at once."""
        self._claimed = {place for place in self._claimed if self._wake(*place)}
        more = False
        for _ in range(min(len(self._keys), KEYS_MAX)):
            place = self._keys.popleft()
            db = self._databases[place[0]]
            entry = db.lookup_write(place[1], now_ms)
            stream = None if entry is None else entry.value
            ruled: list[Group] = []
            if isinstance(stream, Stream):
                ruled = [group for group in stream.groups.values() if group.policy is not None]
                for group in ruled:
                    done = apply_policy(db, place[1], stream, group, now_ms)
                    more |= done >= ENTRIES_MAX
                    self._report(place[1], group, now_ms)
                    if next(group.released(now_ms), None) is not None:
                        self._wake(*place)
            if ruled:
                self._keys.append(place)
            else:
                self._known.discard(place)
        return more

    def _report(self, key: bytes, group: Group, now_ms: int) -> None:
        """Log that entries can't move to the dead stream, now and then."""
        for available_ms, _ in _PARKED:
            if next(group.released_at(available_ms), None) is None or group.policy is None:
                continue
            if self._reported_ms is None or now_ms - self._reported_ms >= _REPORT_MS:
                self._reported_ms = now_ms
                log.warning(
                    "entries of %r stay pending: %r can't take dead letters", key, group.policy.dead
                )
