"""redis-benchmark runs to its end, and every command it sent took effect."""

import subprocess

import pytest
import redis

from hotplate.bench.process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("pipeline", ["1", "16"])
def test_the_usual_run_completes(hotplate_server: ServerProcess, pipeline: str) -> None:
    command = ["redis-benchmark", "-p", str(hotplate_server.port), "-P", pipeline]
    command += ["-n", "2000", "-t", "ping,set,get,incr,mset", "-q"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "error" not in (result.stdout + result.stderr).lower()
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
        assert f"{name}: " in result.stdout
    with redis.Redis(port=hotplate_server.port) as client:
        assert client.get("counter:__rand_int__") == b"2000"
        assert client.strlen("key:__rand_int__") == 3
