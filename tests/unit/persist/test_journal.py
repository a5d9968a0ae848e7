"""What clients sent is kept as it came, where it is just what was logged."""

import pytest
from tests.testing.connection_bench import request

from hotplate.persist.journal import Journal


class Times:
    """Both clocks, which the tests set."""

    now_ms = 5
    now_ns = 7


@pytest.fixture
def journal() -> Journal:
    return Journal(Times(), 0, lambda: None)


SET = [b"SET", b"a", b"1"]
GET = [b"GET", b"a"]
SELECT = request("SELECT", 0)


def log(journal: Journal, *requests: list[bytes]) -> None:
    for argv in requests:
        journal.append(0, argv)


def body(journal: Journal) -> bytes:
    return b"".join(group.body for group in journal.take())


def test_pieces_stand_for_the_requests_that_came_as_them(journal: Journal) -> None:
    log(journal, SET, SET)
    journal.came_as([SET, SET], [b"one;", b"two;"])
    log(journal, SET)
    assert body(journal) == SELECT + b"one;two;" + request(*SET)


@pytest.mark.parametrize(
    ("came", "pieces"),
    [
        ([SET, GET], [b"?"]),  # one of them was not logged
        ([[b"SET", b"a", b"2"]], [b"?"]),  # it was logged otherwise
        ([SET, SET, SET, SET], [b"?"]),  # an earlier one is in another group
        ([SET], [b""]),  # nobody knows how it came
        ([SET, SET], [b"?", b""]),
        ([SET], [b"*3\r\n$3\r\nSET\r\n+a\r\n$1\r\n1\r\n"]),  # no request that Redis would load
    ],
)
def test_what_is_not_sure_is_encoded(
    journal: Journal, came: list[list[bytes]], pieces: list[bytes]
) -> None:
    log(journal, SET, SET)
    journal.came_as(came, pieces)
    assert body(journal) == SELECT + request(*SET) * 2


def test_a_unit_keeps_its_requests_apart(journal: Journal) -> None:
    journal.begin_unit()
    log(journal, SET, SET)
    journal.came_as([SET, SET], [b"?"])
    journal.end_unit()
    whole = request("MULTI") + SELECT + request(*SET) * 2 + request("EXEC")
    assert body(journal) == whole
