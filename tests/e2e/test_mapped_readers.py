"""Readers that map blocks while they are reclaimed never take foreign bytes for a block's."""

import subprocess
import sys
from collections import Counter

import pytest
from tests.soak.mapped_readers import judge

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_ten_seconds_of_mapped_readers_beside_a_busy_reclaimer() -> None:
    command = [sys.executable, "-m", "tests.soak.mapped_readers", "--seconds", "10"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "as promised" in process.stdout


def test_the_judge_finds_what_must_not_be() -> None:
    well = Counter(
        {"written": 1, "read": 1, "read under a lease": 1, "unleased: StaleBlockError": 5}
    )
    assert judge(well) == []
    assert judge(well + Counter({"foreign": 1})) == ["foreign"]
    assert judge(well + Counter({"leased: StaleBlockError": 1})) == ["leased: StaleBlockError"]
    assert judge(Counter({"written": 1})) == ["no read", "no read under a lease"]
