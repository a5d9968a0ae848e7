"""The loads given to redis-benchmark, and what it prints."""

import pytest

from hotplate.bench.core import loads
from hotplate.bench.redis_benchmark import parse_rate

OUTPUT = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms"\n'
    '"SET","92592.59","0.283","0.096","0.279"\n'
)


def test_the_rate_is_read_from_the_csv() -> None:
    assert parse_rate(OUTPUT) == 92592.59


@pytest.mark.parametrize("output", ["", OUTPUT + OUTPUT, '"oops","1"\n"SET","1"\n'])
def test_other_output_is_an_error_and_no_figure(output: str) -> None:
    with pytest.raises(RuntimeError, match="something else"):
        parse_rate(output)


def test_targets_hold_for_many_clients_and_for_pipelines_but_not_for_mset() -> None:
    targets = {(load.command, load.clients, load.pipeline): load.target for load in loads()}
    assert len(targets) == 20
    assert targets["set", 50, 1] == 0.9
    assert targets["get", 1, 16] == targets["incr", 50, 16] == 0.5
    assert targets["ping_mbulk", 1, 1] is None
    assert {targets["mset", 1, 1], targets["mset", 50, 16]} == {None}
