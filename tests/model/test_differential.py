"""Short differential run against a real Redis; the long one is `tests.testing.differential`."""

import os
from contextlib import closing

import pytest
from tests.testing.differential import REDIS_OPTIONS, build_comparison, compare

from hotplate.bench.process import ServerProcess, start_redis

COMMANDS = int(os.environ.get("HOTPLATE_DIFFERENTIAL_COMMANDS", "3000"))


@pytest.mark.slow
@pytest.mark.parametrize("resp", [2, 3])
def test_replies_are_those_of_redis_byte_by_byte(
    resp: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        start_redis(tmp_path_factory.mktemp("redis"), *REDIS_OPTIONS) as redis,
        closing(build_comparison(redis.port, resp)) as comparison,
    ):
        compare(comparison, COMMANDS // 2)
        assert comparison.commands >= COMMANDS // 3


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("resp", [2, 3])
def test_a_server_answers_as_the_engine_alone(
    resp: int, hotplate_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        start_redis(tmp_path_factory.mktemp("redis"), *REDIS_OPTIONS) as redis,
        closing(build_comparison(redis.port, resp, hotplate_server.port)) as comparison,
    ):
        compare(comparison, COMMANDS // 4)
        assert comparison.commands >= COMMANDS // 6
