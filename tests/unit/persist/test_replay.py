"""Requests that are loaded in runs lead to what they lead to one by one."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.console import build_engine
from tests.testing.state import state_of

from hotplate.clock import ManualClock
from hotplate.commands import build_registry
from hotplate.engine.engine import Engine
from hotplate.persist.log_reader import Piece
from hotplate.persist.replay import LoadError, Player, Progress

NOW_MS = 1_700_000_000_000
FAR = b"4102444800000"
_COMMANDS = build_registry()


def played(requests: list[list[bytes]], *, together: bool) -> tuple[Engine, Progress]:
    """An engine that loaded them, in one piece or in one for each."""
    engine = build_engine(ManualClock())
    progress = Progress()
    player = Player(engine, progress)
    player.begin_file()
    pieces = [requests] if together else [[argv] for argv in requests]
    for piece in pieces:
        player.play(Piece([list(argv) for argv in piece], NOW_MS, 0, 0))
    return engine, progress


def counts(engine: Engine) -> list[tuple[Any, ...]]:
    """What databases say of themselves."""
    return [
        (db.size(), db.dirty, db.expiring_count, len(db.discarded)) for db in engine.databases[:2]
    ]


_KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
_TEXTS = st.sampled_from([b"1", b"7", b"text"])
_REQUESTS = st.one_of(
    st.tuples(st.sampled_from([b"SET", b"set"]), _KEYS, _TEXTS),
    st.tuples(st.just(b"SET"), _KEYS, _TEXTS, st.just(b"PXAT"), st.just(FAR)),
    st.tuples(st.sampled_from([b"INCR", b"LPOP", b"DEL", b"SELECT", b"MULTI", b"EXEC"]), _KEYS),
    st.tuples(st.sampled_from([b"RPUSH", b"SADD", b"APPEND", b"HDEL"]), _KEYS, _TEXTS),
    st.tuples(st.sampled_from([b"HSET", b"LSET", b"SETRANGE"]), _KEYS, _TEXTS, _TEXTS),
    st.tuples(st.just(b"ZADD"), _KEYS, st.just(b"1"), _TEXTS),
    st.tuples(st.just(b"XADD"), _KEYS, st.just(b"9-9"), _TEXTS, _TEXTS),
    st.tuples(st.just(b"SELECT"), st.sampled_from([b"0", b"1"])),
).map(list)
_RUNS = st.tuples(_REQUESTS, st.integers(1, 4)).map(lambda pair: [pair[0]] * pair[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(_RUNS, max_size=30), st.randoms(use_true_random=False))
def test_a_piece_is_as_its_requests_one_by_one(
    runs: list[list[list[bytes]]], order: random.Random
) -> None:
    requests = [argv for run in runs for argv in run]
    if order.random() < 0.5:
        requests.sort(key=lambda argv: argv[0])  # long runs
    requests = [argv for argv in requests if _fits(argv)]
    engine, progress = played(requests, together=True)
    again, expected = played(requests, together=False)
    assert state_of(engine) == state_of(again)
    assert counts(engine) == counts(again)
    assert (progress.requests, progress.refused) == (expected.requests, expected.refused)


def _fits(argv: list[bytes]) -> bool:
    """Whether its number of words is right."""
    command = _COMMANDS.lookup(argv[0])
    return command is not None and command.arity_min <= len(argv) <= command.arity_max


def test_a_refused_request_does_not_end_the_run_behind_it() -> None:
    requests = [
        [b"RPUSH", b"l", b"x"],
        [b"INCR", b"l"],
        *[[b"SET", b"a", b"%d" % n] for n in (1, 2)],
    ]
    engine, progress = played(requests, together=True)
    assert progress.refused == 1
    assert state_of(engine)[0, b"a"] == (0, b"2")


def test_set_in_a_run_frees_what_was_there_in_slices() -> None:
    many = [b"%d" % number for number in range(5_000)]
    requests = [[b"RPUSH", b"l", *many], [b"SET", b"a", b"1"], [b"SET", b"l", b"1"]]
    engine, _ = played(requests, together=True)
    assert engine.databases[0].discarded
    assert state_of(engine)[0, b"l"] == (0, b"1")


def test_an_unknown_command_is_no_log_of_this_server() -> None:
    with pytest.raises(LoadError, match="does not have"):
        played([[b"SET", b"a", b"1"], [b"NOSUCH", b"a"]], together=True)
