"""Settings that act on a running server."""

import pytest
import redis
from tests.testing.server import StartHotplate

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


@pytest.mark.e2e
@pytest.mark.slow
def test_the_command_line_is_taken_and_the_password_asked_for(start_server: StartHotplate) -> None:
    server = start_server(
        "--requirepass", "s3cret", "--enable-debug-command", "local", "--maxclients", "50"
    )
    with redis.Redis(port=server.port, password="s3cret") as client:
        assert client.config_get("maxclients") == {"maxclients": "50"}
        assert client.execute_command("DEBUG", "SLEEP", "0.001") == b"OK"
        assert client.config_get("requirepass") == {"requirepass": "s3cret"}
    with (
        redis.Redis(port=server.port) as outsider,
        pytest.raises(redis.AuthenticationError, match="already authenticated"),
    ):
        outsider.ping()
    assert "s3cret" not in server.log()
