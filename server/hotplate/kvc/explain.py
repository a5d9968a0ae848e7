"""EXPLAIN: what a key is now, and why.

Reads the index for what is there, the memory of departures (departed.py) and indexes that were
trimmed and are not cleared yet for what is not. Changes nothing.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from hotplate.kvc.departed import Departure, Reason, departure_of
from hotplate.kvc.holdings import Holdings, plain_copy
from hotplate.kvc.index import ABSENT, DETAILED, STAMP_SHIFT, WRITING, Copy, Index
from hotplate.kvc.policy import POLICIES
from hotplate.kvc.write_session import WriteSession

_LEFT = {
    Reason.REMOVED: ("removed", "removed by KVC.REMOVE"),
    Reason.TRIMMED: ("trimmed", "trimmed by KVC.TRIM"),
    Reason.EXPIRED: ("expired", "expired"),
    Reason.DROPPED: ("write-dropped", "its write was dropped by KVC.FINISH"),
    Reason.TIMED_OUT: ("write-timed-out", "its write was dropped: the session's deadline passed"),
    Reason.CORRUPT: ("corrupt", "dropped, since its bytes did not fit their sum"),
    Reason.STORAGE_REMOVED: ("storage-removed", "dropped with its storage"),
}


@dataclass(slots=True)
class Explanation:
    """One key. `why` is a sentence, `reason` the same as one word; `masked`: STARTWRITE masks it.

    `state` is serving, writing, expired, unavailable (on storages that are not available),
    incomplete (stored without all specs) or absent.
    """

    state: str
    reason: str
    why: str
    masked: bool = False
    at_ms: int | None = None
    storages: Sequence[str] = ()
    session: bytes | None = None
    deadline_ms: int | None = None
    policy: str | None = None


class Explainer:
    """Explains keys of one index."""

    __slots__ = ("_departures", "_holdings", "_index", "_now_ms", "_refusals", "_writers")

    def __init__(self, holdings: Holdings, index: Index, now_ms: int) -> None:
        self._holdings = holdings
        self._index = index
        self._now_ms = now_ms
        self._departures: dict[bytes, Departure] = {}
        self._refusals: dict[bytes, Departure] = {}
        self._writers: list[tuple[int, int, WriteSession]] | None = None

    def explain(self, keys: list[bytes]) -> list[Explanation]:
        """One for each key."""
        index = self._index
        ids = index.lookup_all(keys)
        absent = {
            key
            for key, block in zip(keys, ids, strict=True)
            if block is None or index.state[block] == ABSENT
        }
        if absent:
            number = index.instance.number
            self._departures = self._holdings.departed.find(number, absent)
            self._refusals = self._holdings.departed.refusals(number, absent)
            self._look_into_wrecks(absent)
        return [
            self._absent(key) if block is None or key in absent else self._stored(block)
            for key, block in zip(keys, ids, strict=True)
        ]

    def _look_into_wrecks(self, keys: set[bytes]) -> None:
        """Blocks of a TRIM ALL that are not written down yet."""
        for wreck in self._holdings.wrecks:
            if wreck.index.instance is not self._index.instance:
                continue
            trimmed = departure_of(wreck.mark)
            for key in keys:
                block = wreck.index.lookup(key)
                known = self._departures.get(key)
                if (
                    block is not None
                    and wreck.index.state[block] != ABSENT
                    and (known is None or known.at_ms <= trimmed.at_ms)
                ):
                    self._departures[key] = trimmed

    # what is not there

    def _absent(self, key: bytes) -> Explanation:
        left, refused = self._departures.get(key), self._refusals.get(key)
        if refused is not None and (left is None or refused.at_ms > left.at_ms):
            word = refused.refusal.partition(" ")[0].lower()
            why = f"a write was refused at {refused.at_ms}: {refused.refusal}"
            return Explanation("absent", f"{word}-refused", why, at_ms=refused.at_ms)
        if left is None:
            return Explanation("absent", "never-stored", "never stored, as far as is remembered")
        if left.reason is Reason.EVICTED:
            policy = POLICIES[left.detail]
            why = f"reclaimed by policy {policy} at {left.at_ms}"
            return Explanation("absent", "reclaimed", why, at_ms=left.at_ms, policy=policy)
        reason, why = _LEFT[left.reason]
        return Explanation("absent", reason, f"{why} at {left.at_ms}", at_ms=left.at_ms)

    # what is there

    def _stored(self, block: int) -> Explanation:
        index = self._index
        state = index.state[block]
        copies = index.details[block].copies if state == DETAILED else [plain_copy(index, block)]
        served = [copy for copy in copies if copy.session is None and state != WRITING]
        expired = bool(served) and index.expires[block] <= self._now_ms
        answer = self._served(block, served, expired) if served else self._written(block, copies)
        if expired:
            copies = []  # a write replaces it
        held = 0
        for copy in copies:
            if self._holdings.is_available(copy.storage):
                held |= copy.specs
        answer.masked = held == index.instance.all_specs
        return answer

    def _served(self, block: int, copies: list[Copy], expired: bool) -> Explanation:
        index, holdings = self._index, self._holdings
        storages = [holdings.storage(copy.storage).name for copy in copies]
        if expired:
            at_ms = index.expires[block]
            return Explanation("expired", "expired", f"expired at {at_ms}", False, at_ms, storages)
        usable = [copy for copy in copies if holdings.is_available(copy.storage)]
        if not usable:
            storage = holdings.storage(copies[0].storage)
            why = f"storage {storage.name} is {storage.state.value}"
            if storage.enabled and storage.failure:
                why += f": {storage.failure}"
            reason = f"storage-{storage.state.value}"
            return Explanation("unavailable", reason, why, storages=storages)
        usable.sort(key=lambda copy: holdings.storage(copy.storage).tier)
        names = list(dict.fromkeys(holdings.storage(copy.storage).name for copy in usable))
        created_ms = index.created[block] >> STAMP_SHIFT
        held = 0
        for copy in usable:
            held |= copy.specs
        instance = index.instance
        if held != instance.all_specs:
            missing = instance.numbers_in(instance.all_specs & ~held)
            specs = " ".join(instance.specs[number].name for number in missing)
            why = f"served on {', '.join(names)} without {specs}"
            return Explanation("incomplete", "specs-missing", why, False, created_ms, names)
        why = f"serving on {', '.join(names)} since {created_ms}"
        return Explanation("serving", "serving", why, False, created_ms, names)

    def _written(self, block: int, copies: list[Copy]) -> Explanation:
        session = copies[0].session or self._writer_of(block)
        names = [self._holdings.storage(copy.storage).name for copy in copies]
        identity = session.id.decode()
        why = f"being written by session {identity} until {session.deadline_ms}"
        return Explanation(
            "writing",
            "being-written",
            why,
            at_ms=self._index.created[block] >> STAMP_SHIFT,
            storages=names,
            session=session.id,
            deadline_ms=session.deadline_ms,
        )

    def _writer_of(self, block: int) -> WriteSession:
        """The session that writes a plain block; all sessions' parts are sorted once a call."""
        if self._writers is None:
            self._writers = sorted(
                (
                    (part.start, number, session)
                    for number, session in enumerate(self._index.sessions.values())
                    for part in session.parts
                    if part.copy is None
                ),
                key=lambda item: item[:2],
            )
        for _, _, session in self._candidates(block):
            if session.position_of(block) is not None:
                return session
        raise RuntimeError("a block is being written by no session")

    def _candidates(self, block: int) -> Sequence[tuple[int, int, WriteSession]]:
        """The parts that begin at or before a block, the nearest first."""
        writers = self._writers or []
        end = bisect_right(writers, block, key=lambda item: item[0])
        return writers[end - 1 :: -1] if end else ()
