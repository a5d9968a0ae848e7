"""A short crash run; the long one is `python -m tests.soak.crash --kills 1000`."""

import os
from pathlib import Path

import pytest
from tests.soak.crash import Run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = int(os.environ.get("HOTPLATE_CRASH_KILLS", "30"))


@pytest.mark.parametrize(("policy", "share"), [("everysec", 2), ("always", 3), ("no", 6)])
def test_nothing_acknowledged_is_lost_by_kills_at_random_moments(
    policy: str, share: int, tmp_path: Path
) -> None:
    run = Run(KILLS // share, policy=policy, clients=3, caches=1, seed=KILLS, directory=tmp_path)
    assert run.crash(lambda line: None) > KILLS
