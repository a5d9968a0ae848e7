"""Limits under many clients of several processes, judged by what the clients saw."""

import subprocess
import sys

import pytest
from tests.soak.limits import Call, fullest, judge, most_at_once

pytestmark = pytest.mark.e2e


@pytest.mark.slow
def test_limits_keep_their_promises_for_clients_of_several_processes() -> None:
    command = [sys.executable, "-m", "tests.soak.limits", "--seconds", "3", "--clients", "40"]
    result = subprocess.run(
        [*command, "--processes", "2"], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "every promise was kept" in result.stdout


def test_the_judge_finds_what_a_limit_must_not_admit() -> None:
    second = 1_000_000_000
    calls = [Call("tokens:0", 0, 1, 600), Call("tokens:0", second, second + 1, 200)]
    assert fullest(calls, 600, 200) == pytest.approx(1)
    assert judge(calls)[1] == []
    calls.append(Call("tokens:0", 5, second // 2, 1))
    assert [line.partition(":")[0] for line in judge(calls)[1]] == ["tokens"]
    places = [Call("running:0", 0, 10, 0, 100) for _ in range(12)]
    assert most_at_once(places) == 12
    places.append(Call("running:0", 50, 100, 0, 200))
    assert judge(places)[1] == []
    places.append(Call("running:0", 50, 99, 0, 200))
    assert judge(places)[1] == ["running:0: at most 13 of 12 at once"]
