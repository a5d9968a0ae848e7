"""Tasks whose consumers are killed at random, judged by what the consumers saw."""

import subprocess
import sys

import pytest
from tests.soak.queues import DELIVERIES_MAX, Letter, judge

pytestmark = pytest.mark.e2e

LIFE = [("got", 1), ("got", 2), ("sent", 1), ("sent", 2), ("one", 1), ("one", 2)]


@pytest.mark.slow
def test_each_task_is_acknowledged_once_or_dead_though_consumers_are_killed() -> None:
    command = [sys.executable, "-m", "tests.soak.queues", "--tasks", "4000", "--consumers", "4"]
    result = subprocess.run(
        [*command, "--visibility-ms", "300"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "every promise was kept" in result.stdout


def test_the_judge_believes_what_is_right() -> None:
    assert judge(2, [LIFE], []) == []
    killed = [("got", 1), ("got", 2), ("sent", 1), ("sent", 2)]
    assert judge(2, [killed], []) == []
    late = [("got", 1), ("sent", 1), ("none", 1)]
    assert judge(2, [killed, late], []) == []
    deadly = [("got", 2)]
    life = [("got", 1), ("sent", 1), ("one", 1)]
    assert judge(2, [life, *[deadly] * DELIVERIES_MAX], [Letter(2, DELIVERIES_MAX)]) == []


def test_the_judge_finds_what_must_not_be() -> None:
    twice = [("got", 2), ("sent", 2), ("one", 2)]
    assert judge(2, [LIFE, twice], []) == ["2 was acknowledged 2 times"]
    assert judge(3, [LIFE], []) == ["3 is lost: 0 deliveries, no acknowledgement"]
    refused = [("got", 3), ("sent", 3), ("none", 3)]
    assert judge(3, [LIFE, refused], []) == ["3 is lost: 1 deliveries, no acknowledgement"]
    letter = Letter(2, DELIVERIES_MAX)
    assert judge(2, [LIFE], [letter]) == ["2 was acknowledged and is dead"]
    life = [("got", 1), ("sent", 1), ("one", 1)]
    assert judge(2, [life], [letter, letter]) == ["2 is 2 dead letters"]
    assert judge(2, [life], [Letter(2, 1)]) == ["2 is dead after 1 deliveries"]
    often = [("got", 2)] * (DELIVERIES_MAX + 1)
    assert judge(2, [LIFE, often], []) == [f"2 was delivered {DELIVERIES_MAX + 2} times"]
