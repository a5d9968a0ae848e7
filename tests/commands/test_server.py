"""INFO, CONFIG, TIME, SHUTDOWN, DEBUG and the rest of the server group, over both protocols."""

from pathlib import Path

import pytest
from tests.testing.server_console import FakeLink, ServerConsole

from hotplate.config import Config
from hotplate.config_file import load
from hotplate.engine.context import Gate
from hotplate.engine.info import SECTIONS

PROTOCOL_TYPES = (
    *("string", "integer", "double", "null", "array"),
    *("set", "map", "verbatim", "true", "false"),
)


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> ServerConsole:
    return ServerConsole(resp=request.param)


@pytest.fixture
def debugger() -> ServerConsole:
    config = Config()
    config.apply([("enable-debug-command", ["local"])])
    return ServerConsole(config=config)


def info(console: ServerConsole, *sections: str) -> dict[str, str]:
    """The fields of INFO."""
    reply = console("INFO", *sections)
    text = reply.decode() if isinstance(reply, bytes) else reply
    lines = [line for line in text.split("\r\n") if line and not line.startswith("#")]
    return dict(line.split(":", 1) for line in lines)


def titles(console: ServerConsole, *sections: str) -> list[str]:
    reply = console("INFO", *sections)
    text = reply.decode() if isinstance(reply, bytes) else reply
    return [line[2:].lower() for line in text.split("\r\n") if line.startswith("#")]


# -- INFO --------------------------------------------------------------------------------------


def test_info_has_the_fields_that_clients_and_exporters_read(console: ServerConsole) -> None:
    found = info(console)
    wanted = """redis_version redis_mode hotplate_version os process_id run_id tcp_port
        uptime_in_seconds connected_clients maxclients blocked_clients used_memory
        used_memory_human used_memory_rss used_memory_peak maxmemory maxmemory_policy
        total_system_memory mem_fragmentation_ratio loading rdb_last_save_time
        rdb_changes_since_last_save rdb_last_bgsave_status rdb_bgsave_in_progress aof_enabled
        total_connections_received total_commands_processed instantaneous_ops_per_sec
        total_net_input_bytes total_net_output_bytes rejected_connections expired_keys
        evicted_keys keyspace_hits keyspace_misses pubsub_channels total_error_replies role
        connected_slaves master_repl_offset used_cpu_sys used_cpu_user cluster_enabled"""
    assert set(wanted.split()) <= set(found)
    assert found["redis_version"] == "7.4.0"
    assert len(found["run_id"]) == 40
    assert int(found["used_memory_rss"]) >= int(found["used_memory"]) > 0


def test_info_gives_the_sections_asked_for_in_redis_order(console: ServerConsole) -> None:
    assert titles(console, "cpu", "SERVER", "cpu") == ["server", "cpu"]
    assert titles(console, "everything") == list(SECTIONS)
    assert "commandstats" not in titles(console)
    assert titles(console) == titles(console, "default")
    assert titles(console, "nope") == []


def test_info_counts_what_happened(console: ServerConsole) -> None:
    console("SET k v EX 100")
    console("GET k")
    console("GET none")
    console.refused("NOPE")
    console.refused("SET k v EX 0")
    assert info(console, "keyspace")["db0"] == "keys=1,expires=1,avg_ttl=0,subexpiry=0"
    stats = info(console, "stats")
    assert (stats["keyspace_hits"], stats["keyspace_misses"]) == ("1", "1")
    assert stats["total_error_replies"] == "2"
    assert info(console, "errorstats") == {"errorstat_ERR": "count=2"}
    per_command = info(console, "commandstats")
    assert per_command["cmdstat_get"].startswith("calls=2,usec=")
    assert per_command["cmdstat_set"].endswith("failed_calls=1")


def test_resetstat_starts_the_counters_over(console: ServerConsole) -> None:
    console("GET none")
    console.refused("NOPE")
    assert console("CONFIG RESETSTAT") == b"OK"
    stats = info(console, "stats")
    assert stats["keyspace_misses"] == "0"
    assert stats["total_error_replies"] == "0"
    assert "cmdstat_get" not in info(console, "commandstats")


def test_uptime_follows_the_clock(console: ServerConsole) -> None:
    console.clock.advance(2 * 86_400_000 + 5000)
    found = info(console, "server")
    assert found["uptime_in_seconds"] == "172805"
    assert found["uptime_in_days"] == "2"


def test_rates_are_those_of_the_last_samples(console: ServerConsole) -> None:
    stats = console.engine.stats
    assert info(console, "stats")["instantaneous_ops_per_sec"] == "0"
    stats.sample(0)
    stats.commands_processed += 50
    stats.net_input_bytes += 1024
    stats.sample(500_000_000)
    found = info(console, "stats")
    assert found["instantaneous_ops_per_sec"] == "100"
    assert found["instantaneous_input_kbps"] == "2.00"


# -- CONFIG ------------------------------------------------------------------------------------


def get(console: ServerConsole, *patterns: str) -> dict[bytes, bytes]:
    reply = console("CONFIG", "GET", *patterns)
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def test_config_get_takes_several_globs(console: ServerConsole) -> None:
    assert get(console, "MAXCLIENTS") == {b"MAXCLIENTS": b"10000"}
    assert get(console, "nope") == {}
    found = get(console, "maxmemory*", "ti*t", "maxmemory")
    assert found[b"maxmemory-policy"] == b"noeviction"
    assert found[b"timeout"] == b"0"
    assert get(console, "hash-max-ziplist-entries") == {b"hash-max-ziplist-entries": b"512"}


def test_config_set_sets_all_or_nothing(console: ServerConsole) -> None:
    assert console("CONFIG SET timeout 5 MaxClients 200") == b"OK"
    assert console.engine.config.timeout == 5
    assert console.engine.config.maxclients == 200
    text = "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
    assert (
        console.refused("CONFIG SET timeout 7 maxclients 0")
        == text + "argument must be between 1 and 4294967295 inclusive"
    )
    assert console.engine.config.timeout == 5


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("maxclients x", "argument couldn't be parsed into an integer"),
        ("protected-mode 1", "argument must be 'yes' or 'no'"),
        ("proto-max-bulk-len 1zz", "argument must be a memory value"),
        ("port 1", "can't set immutable config"),
        ("hz 10 hz 10", "duplicate parameter"),
    ],
)
def test_config_set_says_why_it_refuses(console: ServerConsole, pair: str, reason: str) -> None:
    name = pair.split()[0]
    text = f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    assert console.refused(f"CONFIG SET {pair}") == text


def test_an_unknown_setting_is_named(console: ServerConsole) -> None:
    text = "ERR Unknown option or number of arguments for CONFIG SET - 'nope'"
    assert console.refused("CONFIG SET timeout 5 nope 1") == text
    assert console.engine.config.timeout == 0
    text = "ERR wrong number of arguments for 'config|set' command"
    assert console.refused("CONFIG SET timeout 5 hz") == text


def test_rewrite_keeps_the_files_comments(tmp_path: Path) -> None:
    path = tmp_path / "hotplate.conf"
    path.write_text("# mine\ntimeout 5\n")
    console = ServerConsole(config=load(path))
    console("CONFIG SET timeout 9 maxclients 100")
    assert console("CONFIG REWRITE") == b"OK"
    assert path.read_text().startswith("# mine\ntimeout 9\n")
    assert load(path).maxclients == 100


def test_rewrite_without_a_file_or_a_place_is_refused(
    console: ServerConsole, tmp_path: Path
) -> None:
    text = "ERR The server is running without a config file"
    assert console.refused("CONFIG REWRITE") == text
    console.engine.config.file_path = tmp_path / "gone" / "hotplate.conf"
    assert console.refused("CONFIG REWRITE").startswith("ERR Rewriting config file: No such file")


# -- the rest ----------------------------------------------------------------------------------


def test_time_is_the_clocks(console: ServerConsole) -> None:
    console.clock.advance(1.5)
    assert console("TIME") == [b"1700000000", b"1500"]


def test_shutdown_ends_the_server_without_an_answer(console: ServerConsole) -> None:
    asked: list[bool] = []
    console.engine.request_shutdown = lambda: asked.append(True)
    assert console.execute([b"SHUTDOWN", b"NOSAVE", b"NOW"]) == b""
    assert asked == [True]
    assert console.ctx.gates & Gate.CLOSING


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("SHUTDOWN foo", "syntax error"),
        ("SHUTDOWN NOSAVE SAVE", "syntax error"),
        ("SHUTDOWN ABORT NOW", "syntax error"),
        ("SHUTDOWN ABORT", "No shutdown in progress."),
    ],
)
def test_a_refused_shutdown_leaves_the_server_up(
    console: ServerConsole, line: str, text: str
) -> None:
    asked: list[bool] = []
    console.engine.request_shutdown = lambda: asked.append(True)
    assert console.refused(line) == f"ERR {text}"
    assert asked == []
    assert console("PING") == b"PONG"


def test_it_is_a_master_without_replicas_and_without_a_cluster(console: ServerConsole) -> None:
    assert console("ROLE") == [b"master", 0, []]
    assert console("REPLICAOF no one") == b"OK"
    assert console("SLAVEOF NO ONE") == b"OK"
    missing = "needs replication, which this version does not have"
    assert console.refused("REPLICAOF 127.0.0.1 6379") == f"ERR REPLICAOF {missing}"
    assert console.refused("SLAVEOF 127.0.0.1 6379") == f"ERR SLAVEOF {missing}"
    assert console.refused("PSYNC ? -1") == f"ERR PSYNC {missing}"
    assert console.refused("SYNC") == f"ERR SYNC {missing}"
    text = "ERR This instance has cluster support disabled"
    assert console.refused("CLUSTER INFO") == text
    assert console.refused("CLUSTER SLOTS") == text


@pytest.mark.parametrize("name", ["FAILOVER", "MIGRATE"])
def test_what_is_not_there_yet_is_unknown(console: ServerConsole, name: str) -> None:
    text = f"ERR unknown command '{name}', with args beginning with: 'a' 'b' "
    assert console.refused(f"{name} a b") == text


def test_lolwut_draws_a_plate_and_tells_the_version(console: ServerConsole) -> None:
    reply = console("LOLWUT")
    text = reply.decode() if isinstance(reply, bytes) else reply
    assert "Hotplate ver. " in text
    assert max(map(len, text.splitlines())) <= 42
    assert console("LOLWUT") != reply
    assert console.refused("LOLWUT VERSION x") == "ERR value is not an integer or out of range"


def test_debug_is_off_unless_allowed(console: ServerConsole, debugger: ServerConsole) -> None:
    assert console.refused("DEBUG SLEEP 0").startswith("ERR DEBUG command not allowed.")
    assert debugger("DEBUG SLEEP 0") == b"OK"
    debugger.ctx.link = FakeLink("10.0.0.1:99")
    assert debugger.refused("DEBUG SLEEP 0").startswith("ERR DEBUG command not allowed.")


def test_debug_has_the_parts_that_test_tools_use(debugger: ServerConsole) -> None:
    debugger("SET k 12")
    assert b"encoding:int serializedlength:2" in debugger("DEBUG OBJECT k")
    assert debugger.refused("DEBUG OBJECT none") == "ERR no such key"
    assert debugger("DEBUG SET-ACTIVE-EXPIRE 0") == b"OK"
    assert not debugger.engine.active_expire
    assert debugger("DEBUG STRINGMATCH-LEN 1000 *x*x*x*") == 1
    assert debugger("DEBUG STRINGMATCH-LEN 1000 *y*") == 0
    assert debugger.refused("DEBUG ERROR OOPS") == "OOPS"
    before_ms = debugger.clock.now_ms()
    assert debugger("DEBUG SLEEP 1.5") == b"OK"
    assert debugger.clock.now_ms() - before_ms == 1500
    assert debugger.refused("DEBUG SLEEP -1") == "ERR SLEEP takes 0 to 3600 seconds, not '-1'"
    text = "ERR unknown subcommand or wrong number of arguments for 'nope'. Try DEBUG HELP."
    assert debugger.refused("DEBUG nope") == text
    assert debugger("DEBUG HELP")
    for kind in [
        "string",
        "integer",
        "double",
        "null",
        "array",
        "set",
        "map",
        "verbatim",
        "true",
        "false",
    ]:
        debugger(f"DEBUG PROTOCOL {kind}")
