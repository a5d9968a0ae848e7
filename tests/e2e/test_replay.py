"""`hotplate replay --live`: a running server finds block for block what the replay finds."""

import json
from pathlib import Path

import pytest
from tests.testing.traces import conversations, write_trace

from hotplate.bench.process import ServerProcess
from hotplate.clients import KVCache
from hotplate.kvc.policy import POLICIES
from hotplate.optimizer.live import LiveReplayError, play
from hotplate.optimizer.main import main
from hotplate.optimizer.simulate import simulate

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("policy", POLICIES)
def test_the_server_finds_what_the_replay_finds(
    policy: str, tmp_path: Path, hotplate_server: ServerProcess
) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, conversations(21, 400))
    arguments = [str(path), "--policy", policy, "--capacity", "30", "--capacity", "120"]
    assert main([*arguments, "--rounds", "1", "--live", hotplate_server.url]) == 0


def test_a_write_that_needs_more_victims_than_a_call_takes_is_tried_again(
    hotplate_server: ServerProcess,
) -> None:
    trace = conversations(22, 1500)
    longest = list(range(trace.distinct, trace.distinct + 2500))
    trace.requests.append(type(trace.requests[0])(0, longest))
    trace = type(trace)(trace.requests, trace.block_tokens, trace.distinct + 2500)
    live = play(trace, "lru", 2600, hotplate_server.url)
    assert live.matched == simulate(trace, "lru", 2600).matched


def test_the_events_of_a_server_are_a_trace(
    hotplate_server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it answered is what the replay finds, without a trace of anybody else's."""
    trace = conversations(25, 60)
    with KVCache.from_url(hotplate_server.url, "told") as cache:
        cache.execute("CONFIG", "SET", "kvc-events", "yes")
        group = ("GROUP", "default", "BLOCKTOKENS", trace.block_tokens)
        cache.execute("KVC.INSTANCE", "REGISTER", "told", *group, "SPEC", "all", 1)
        for request in trace.requests:
            if not request.blocks:
                continue
            keys = [b"block-%05d" % block for block in request.blocks]
            cache.execute("KVC.GETLOC", "told", "COUNT", "KEYS", len(keys), *keys)
            cache.execute(
                "KVC.PUT", "told", len(keys), *(part for key in keys for part in (key, "x"))
            )
        target = tmp_path / "figures.json"
        options = ["--policy", "lru", "--capacity", "100000", "--rounds", "1"]
        asked = ["--instance", "told", "--json", str(target)]
        assert main([hotplate_server.url, *options, *asked]) == 0
        stats = cache.execute("KVC.STATS", "INSTANCE", "told")
        pairs = (
            stats if isinstance(stats, dict) else dict(zip(stats[::2], stats[1::2], strict=True))
        )
        [row] = json.loads(target.read_text())["rows"]
        assert row["whole"]["block"] == pytest.approx(pairs[b"hits"] / pairs[b"requested"])
        assert capsys.readouterr().out.startswith("told: ")
        assert main([hotplate_server.url, "--instance", "nobody"]) == 2
        assert "NOINSTANCE" in capsys.readouterr().err
        assert main([hotplate_server.url]) == 2
        assert "--instance" in capsys.readouterr().err
        cache.execute("CONFIG", "SET", "kvc-events", "no")
        cache.execute("KVC.INSTANCE", "REMOVE", "told", "FORCE")
        cache.execute("DEL", "kvc:events:told")


def test_nothing_is_left_on_the_server(hotplate_server: ServerProcess) -> None:
    play(conversations(23, 20), "hslru", 30, hotplate_server.url)
    with KVCache.from_url(hotplate_server.url, "none") as cache:
        assert cache.execute("KVC.GROUP", "LIST") == [b"default"]
        assert cache.execute("KVC.INSTANCE", "LIST") == []


def test_a_capacity_that_the_server_refuses_is_an_error(hotplate_server: ServerProcess) -> None:
    with pytest.raises(LiveReplayError, match="MAXBLOCKS"):
        play(conversations(24, 5), "lru", 1 << 80, hotplate_server.url)


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LiveReplayError, match="redis://127"):
        play(conversations(24, 5), "lru", 10, "redis://127.0.0.1:1")
