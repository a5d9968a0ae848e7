"""A short crash run; the long one is `python -m tests.soak.crash --kills 1000`."""

import os
import random
from pathlib import Path

import pytest
from tests.soak.crash import Client, Run
from tests.soak.crash_wire import LostError
from tests.testing.console import Console

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = int(os.environ.get("HOTPLATE_CRASH_KILLS", "30"))


@pytest.mark.parametrize(("policy", "share"), [("everysec", 2), ("always", 3), ("no", 6)])
def test_nothing_acknowledged_is_lost_by_kills_at_random_moments(
    policy: str, share: int, tmp_path: Path
) -> None:
    run = Run(KILLS // share, policy=policy, clients=3, caches=1, seed=KILLS, directory=tmp_path)
    assert run.crash(lambda line: None) > KILLS


@pytest.mark.parametrize("gone", [b"a", b"b"])
def test_a_pop_that_nobody_heard_of_may_have_taken_any_member(gone: bytes) -> None:
    client, server = Client(0, random.Random(1), Console()), Console()
    key = client.key(b"set")
    for console in (client.model, server):
        console.execute([b"SADD", key, b"a", b"b", b"c"])
    client.under_way = [[[b"SPOP", key]], [[b"SREM", key, b"a"]], [[b"SADD", key, b"d"]]]
    server.execute([b"SREM", key, gone, b"a"])
    client.judge(server)
    assert client.under_way == []
    assert set(client.model(b"SMEMBERS", key)) == set(server(b"SMEMBERS", key))


def test_a_member_that_no_pop_explains_is_lost() -> None:
    client, server = Client(0, random.Random(1), Console()), Console()
    key = client.key(b"set")
    client.model.execute([b"SADD", key, b"a", b"b", b"c"])
    client.under_way = [[[b"SPOP", key]]]
    server.execute([b"SADD", key, b"c"])
    with pytest.raises(LostError):
        client.judge(server)
