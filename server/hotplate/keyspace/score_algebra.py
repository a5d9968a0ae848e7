"""Unions, intersections and differences of members with scores.

    sources [(scores, weight), ...] ──► {member: score} ──► in order

A source is a sorted set's table, or a plain set seen as if every score were 1. Pure functions; they
know no key and no reply. The order of additions is that of Redis, from the smallest source to the
largest, so that sums round alike. What would be NaN is 0.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias


class Scores(Protocol):
    """Members with scores, as far as they are looked at here."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def get(self, key: bytes, /) -> float | None:
        """The score of a member, None where it is not there."""
        ...

    def items(self) -> Iterable[tuple[bytes, float]]:
        """All members with their scores."""
        ...


class PlainSet(Protocol):
    """A set without scores."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __contains__(self, member: object, /) -> bool: ...


class EvenScores:
    """A plain set whose members all have the score 1."""

    __slots__ = ("_members",)

    def __init__(self, members: PlainSet) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._members)

    def get(self, key: bytes, /) -> float | None:
        """1 for a member."""
        return 1.0 if key in self._members else None

    def items(self) -> Iterable[tuple[bytes, float]]:
        """All members, each with 1."""
        return ((member, 1.0) for member in self._members)


Source: TypeAlias = tuple[Scores, float]
Aggregate: TypeAlias = Callable[[float, float], float]


def add(first: float, second: float) -> float:
    """The sum; infinities of both signs make 0."""
    total = first + second
    return total if total == total else 0.0


def lower(first: float, second: float) -> float:
    """The lower of two, the first of equals."""
    return min(first, second)


def higher(first: float, second: float) -> float:
    """The higher of two, the first of equals."""
    return max(first, second)


def _weighted(score: float, weight: float) -> float:
    product = score * weight
    return product if product == product else 0.0


def _size_of(source: Source) -> int:
    return len(source[0])


def union(sources: Iterable[Source], aggregate: Aggregate) -> dict[bytes, float]:
    """The members of any source."""
    found: dict[bytes, float] = {}
    for scores, weight in sorted(sources, key=_size_of):
        for member, score in scores.items():
            value = score if weight == 1.0 else _weighted(score, weight)
            before = found.get(member)
            found[member] = value if before is None else aggregate(before, value)
    return found


def intersection(sources: Iterable[Source], aggregate: Aggregate) -> dict[bytes, float]:
    """The members of all sources; there is at least one source."""
    (smallest, first_weight), *others = sorted(sources, key=_size_of)
    found: dict[bytes, float] = {}
    for member, score in smallest.items():
        value = _weighted(score, first_weight)
        for scores, weight in others:
            other = scores.get(member)
            if other is None:
                break
            value = aggregate(value, _weighted(other, weight))
        else:
            found[member] = value
    return found


def intersection_size(tables: Iterable[Scores], limit: int) -> int:
    """How many members all have in common; counted up to `limit`, 0 being none."""
    smallest, *others = sorted(tables, key=len)
    count = 0
    for member in smallest:
        if all(scores.get(member) is not None for scores in others):
            count += 1
            if count == limit:
                break
    return count


def difference(first: Scores, others: list[Scores]) -> dict[bytes, float]:
    """The members of the first that no other has, with their scores."""
    return {
        member: score
        for member, score in first.items()
        if all(scores.get(member) is None for scores in others)
    }


def in_order(found: dict[bytes, float]) -> tuple[list[bytes], list[float]]:
    """Members and scores in the order of a sorted set."""
    pairs = sorted(zip(found.values(), found.keys(), strict=True))
    return [member for _, member in pairs], [score for score, _ in pairs]
