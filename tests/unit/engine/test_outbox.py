"""The end of a pass: who flushes, and what a failure there does to the others."""

from collections.abc import Callable

import pytest
from tests.testing.connection_bench import Bench

from hotplate.engine.outbox import Outbox
from hotplate.engine.singles import Singles


class Sender:
    """Writes its name down, after what it is told to do."""

    def __init__(
        self, name: str, told: list[str], action: Callable[[], None] | None = None
    ) -> None:
        self._name = name
        self._told = told
        self._action = action

    def flush(self) -> None:
        """Send."""
        if self._action is not None:
            self._action()
        self._told.append(self._name)


@pytest.fixture
def due() -> list[Callable[[], None]]:
    """What the loop was asked to call."""
    return []


@pytest.fixture
def outbox(due: list[Callable[[], None]]) -> Outbox:
    outbox = Outbox(Singles(Bench().engine))
    outbox.soon = due.append
    return outbox


def test_the_loop_is_asked_once_a_pass(outbox: Outbox, due: list[Callable[[], None]]) -> None:
    told: list[str] = []
    for name in "abc":
        outbox.add(Sender(name, told))
    assert len(due) == 1
    due.pop()()
    assert told == ["a", "b", "c"]
    outbox.add(Sender("d", told))
    assert len(due) == 1


def test_who_is_listed_on_the_way_is_flushed_too(
    outbox: Outbox, due: list[Callable[[], None]]
) -> None:
    told: list[str] = []
    outbox.add(Sender("a", told, lambda: outbox.add(Sender("b", told))))
    due.pop()()
    assert (told, due) == (["a", "b"], [])


def test_a_failure_leaves_the_others_to_the_next_pass(
    outbox: Outbox, due: list[Callable[[], None]]
) -> None:
    def fail() -> None:
        raise OSError("no")

    told: list[str] = []
    for sender in (Sender("a", told), Sender("b", told, fail), Sender("c", told)):
        outbox.add(sender)
    with pytest.raises(OSError, match="no"):
        due.pop()()
    assert len(due) == 1
    due.pop()()
    assert (told, due) == (["a", "c"], [])
