"""Settings that act on a running server."""

import pytest
import redis

from hotplate.bench.process import ServerProcess


@pytest.mark.e2e
@pytest.mark.slow
def test_a_running_server_measures_its_rates_and_takes_new_settings(
    hotplate_server: ServerProcess,
) -> None:
    with redis.Redis(port=hotplate_server.port, decode_responses=True) as client:
        client.config_set("hz", 100)
        assert client.config_get("hz") == {"hz": "100"}
        with pytest.raises(redis.ResponseError, match="can't set immutable config"):
            client.config_set("port", 1)
        rate = 0
        for turn in range(50_000):
            client.ping()
            if turn % 100 == 0 and (rate := client.info("stats")["instantaneous_ops_per_sec"]):
                break
        assert rate > 0
