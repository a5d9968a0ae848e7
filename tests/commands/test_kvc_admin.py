"""KVC.STORAGE, KVC.GROUP and KVC.INSTANCE."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.kvc_context import Client, KvcServer

from hotplate.errors import CommandError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KvcServer]:
    made = KvcServer(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(server: KvcServer, request: pytest.FixtureRequest) -> Client:
    return server.client(request.param)


def as_map(reply: Any) -> dict[bytes, Any]:
    """A map reply of either protocol."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


REGISTER = "KVC.INSTANCE REGISTER llama GROUP default BLOCKTOKENS 16 SPEC tp0 100 SPEC tp1 50"


# storages


def test_a_fresh_server_has_two_storages_and_a_group(client: Client) -> None:
    assert client.line("KVC.STORAGE LIST") == [b"memory", b"ssd"]
    assert client.line("KVC.GROUP LIST") == [b"default"]
    assert client.line("KVC.INSTANCE LIST") == []


def test_a_storage_is_added_shown_and_removed(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "extra-blocks"
    line = f"KVC.STORAGE ADD extra TYPE memory PATH {path} CAPACITY 1048576 SEGMENT 65536 MAP 0"
    assert client.line(line) == b"OK"
    info = as_map(client.line("KVC.STORAGE INFO extra"))
    assert (info[b"name"], info[b"type"], info[b"state"]) == (b"extra", b"memory", b"available")
    assert (info[b"capacity_bytes"], info[b"map"], info[b"path"]) == (1048576, 0, None)
    assert info[b"groups"] == []
    assert path.is_dir()
    assert client.line("KVC.STORAGE REMOVE extra") == b"OK"
    assert client.line("KVC.STORAGE LIST") == [b"memory", b"ssd"]


def test_the_path_is_shown_where_mapping_is_allowed(client: Client, tmp_path: Path) -> None:
    info = as_map(client.line("KVC.STORAGE INFO memory"))
    assert info[b"path"] == str(tmp_path / "memory").encode()
    client.line("KVC.STORAGE UPDATE memory MAP 0")
    assert as_map(client.line("KVC.STORAGE INFO memory"))[b"path"] is None


def test_a_storage_is_updated_disabled_and_enabled(client: Client) -> None:
    assert client.line("KVC.STORAGE UPDATE memory CAPACITY 1000000 MAP 1") == b"OK"
    assert client.line("KVC.STORAGE DISABLE memory") == b"OK"
    info = as_map(client.line("kvc.storage info memory"))
    assert (info[b"capacity_bytes"], info[b"state"]) == (1000000, b"disabled")
    assert client.line("KVC.STORAGE ENABLE memory") == b"OK"
    assert as_map(client.line("KVC.STORAGE INFO memory"))[b"state"] == b"available"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("KVC.STORAGE ADD memory TYPE ssd", "^DUPLICATE .*'memory'"),
        ("KVC.STORAGE ADD new CAPACITY 5", "^ERR .*needs a TYPE"),
        ("KVC.STORAGE ADD new TYPE file", "^ERR .*needs a PATH"),
        ("KVC.STORAGE ADD new TYPE file PATH /tmp/x SEGMENT 5000", "^ERR SEGMENT does not go"),
        ("KVC.STORAGE ADD new TYPE file PATH /tmp/x KEYSPERFILE 0", "^ERR KEYSPERFILE .*'0'"),
        ("KVC.STORAGE ADD new TYPE file PATH /tmp/x KEYSPERFILE 4097", "^ERR KEYSPERFILE 4097"),
        ("KVC.STORAGE ADD new TYPE ssd KEYSPERFILE 4", "^ERR KEYSPERFILE goes with TYPE file"),
        ("KVC.STORAGE UPDATE memory KEYSPERFILE 4", "^ERR KEYSPERFILE .* cannot change"),
        ("KVC.STORAGE ADD new TYPE tape", "^ERR .*'tape'"),
        ("KVC.STORAGE ADD new TYPE memory TYPE ssd", "^ERR TYPE is given twice"),
        ("KVC.STORAGE ADD new TYPE memory CAPACITY -5", "^ERR CAPACITY .*'-5'"),
        ("KVC.STORAGE ADD new TYPE memory CAPACITY 99999999999999999999", "^ERR CAPACITY"),
        ("KVC.STORAGE ADD new TYPE memory PATH relative", "^ERR PATH 'relative'"),
        ("KVC.STORAGE ADD new TYPE memory PATH /proc/nowhere/blocks", "^ERR .*'new' cannot be"),
        ("KVC.STORAGE ADD new TYPE ssd CAPACITY 4611686018427387904", "^ERR .*4611686018427387904"),
        ("KVC.STORAGE ADD new TYPE memory COLOUR red", "^ERR unknown storage option 'COLOUR'"),
        ("KVC.STORAGE ADD new TYPE memory MAP 2", "^ERR MAP .*'2'"),
        ("KVC.STORAGE ADD new TYPE", "^ERR"),
        ("KVC.STORAGE UPDATE memory PATH /tmp", "^ERR PATH of a storage cannot change"),
        ("KVC.STORAGE UPDATE memory MAP 1 MAP 0", "^ERR MAP is given twice"),
        ("KVC.STORAGE UPDATE tape MAP 1", "^NOSTORAGE .*'tape'"),
        ("KVC.STORAGE ENABLE tape", "^NOSTORAGE .*'tape'"),
        ("KVC.STORAGE DISABLE tape", "^NOSTORAGE .*'tape'"),
        ("KVC.STORAGE INFO tape", "^NOSTORAGE .*'tape'"),
        ("KVC.STORAGE REMOVE tape", "^NOSTORAGE .*'tape'"),
        ("KVC.STORAGE REMOVE memory", "^INUSE .*'default'"),
        ("KVC.STORAGE REMOVE memory NOW", "^ERR syntax error"),
        ("KVC.STORAGE GROW memory", "^ERR unknown subcommand 'GROW'"),
        ("KVC.STORAGE LIST all", "^ERR wrong number of arguments"),
    ],
)
def test_a_refused_storage_command_changes_nothing(
    server: KvcServer, client: Client, line: str, text: str
) -> None:
    before = server.state()
    with pytest.raises(CommandError, match=text):
        client.line(line)
    assert server.state() == before


def test_a_storage_with_blocks_goes_only_by_force(client: Client) -> None:
    client.line("KVC.STORAGE ADD extra TYPE memory")
    client.line("KVC.GROUP CREATE team STORAGES 2 extra ssd")
    client.line("KVC.INSTANCE REGISTER one GROUP team BLOCKTOKENS 1 SPEC kv 5")
    assert client.line("KVC.PUT one 1 key hello") == 1
    with pytest.raises(CommandError, match=r"^INUSE"):
        client.line("KVC.STORAGE REMOVE extra")
    assert client.line("KVC.GETLOC one COUNT KEYS 1 key") == 1
    assert client.line("KVC.STORAGE REMOVE extra FORCE") == b"OK"
    assert client.line("KVC.GETLOC one COUNT KEYS 1 key") == 0
    info = as_map(client.line("KVC.GROUP INFO team"))
    assert (info[b"storages"], info[b"version"]) == ([b"ssd"], 2)
    assert client.line("KVC.STORAGE ADD extra TYPE memory") == b"OK"  # its folder is free again


# groups


def test_a_group_is_created_with_every_option(client: Client) -> None:
    line = (
        "KVC.GROUP CREATE team STORAGES 1 ssd QUOTA 1000 TYPEQUOTA ssd 900 TYPEQUOTA memory 5"
        " WATERMARKS 0.9 0.5 POLICY LRU TTL 60 GRACE 0 RETAIN 0.1 PREFER ssd TIERING none"
        " MAXBLOCKS 7 MAXINSTANCES 8 MAXSESSIONS 9 MAP 0 USERDATA note"
    )
    assert client.line(line) == 1
    info = as_map(client.line("KVC.GROUP INFO team"))
    assert as_map(info[b"type_quotas"]) == {b"ssd": 900, b"memory": 5}
    expected = {
        b"storages": [b"ssd"],
        b"quota": 1000,
        b"policy": b"lru",
        b"ttl": 60,
        b"grace_ms": 0,
        b"prefer": b"ssd",
        b"always": None,
        b"tiering": b"none",
        b"max_blocks": 7,
        b"max_instances": 8,
        b"max_sessions": 9,
        b"map": 0,
        b"userdata": b"note",
        b"version": 1,
        b"instances": [],
    }
    assert {name: info[name] for name in expected} == expected
    assert [float(info[name]) for name in (b"high", b"low", b"retain")] == [0.9, 0.5, 0.1]


def test_an_update_keeps_what_it_does_not_name(client: Client) -> None:
    client.line("KVC.GROUP CREATE team QUOTA 1000 TYPEQUOTA ssd 900 PREFER ssd TTL 60")
    assert client.line("KVC.GROUP UPDATE team VERSION 1 TYPEQUOTA memory 5 ALWAYS memory") == 2
    info = as_map(client.line("KVC.GROUP INFO team"))
    assert as_map(info[b"type_quotas"]) == {b"ssd": 900, b"memory": 5}
    assert (info[b"quota"], info[b"prefer"], info[b"always"]) == (1000, None, b"memory")
    line = "KVC.GROUP UPDATE team VERSION 2 QUOTA none TTL NONE TYPEQUOTA ssd none ALWAYS none"
    assert client.line(line) == 3
    info = as_map(client.line("KVC.GROUP INFO team"))
    assert as_map(info[b"type_quotas"]) == {b"memory": 5}
    assert (info[b"quota"], info[b"ttl"], info[b"always"]) == (None, None, None)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("KVC.GROUP CREATE default", "^DUPLICATE .*'default'"),
        ("KVC.GROUP CREATE team QUOTA -1", "^ERR QUOTA .*'-1'"),
        ("KVC.GROUP CREATE team QUOTA 9223372036854775808", "^ERR QUOTA"),
        ("KVC.GROUP CREATE team TYPEQUOTA ssd -1", "^ERR TYPEQUOTA .*'-1'"),
        ("KVC.GROUP CREATE team TYPEQUOTA ssd 1 TYPEQUOTA ssd 2", "^ERR TYPEQUOTA ssd is given"),
        ("KVC.GROUP CREATE team WATERMARKS 0.5 0.6", "^ERR WATERMARKS"),
        ("KVC.GROUP CREATE team WATERMARKS 0 0", "^ERR WATERMARKS"),
        ("KVC.GROUP CREATE team WATERMARKS nan 0.5", "^ERR value is not a valid float"),
        ("KVC.GROUP CREATE team WATERMARKS inf 0.5", "^ERR WATERMARKS"),
        ("KVC.GROUP CREATE team POLICY clock", "^ERR unknown POLICY 'clock'"),
        ("KVC.GROUP CREATE team TIERING upward", "^ERR TIERING 'upward': none, exclusive or inc"),
        ("KVC.GROUP CREATE team TTL 0", "^ERR TTL .*'0'"),
        ("KVC.GROUP CREATE team STORAGES 2 memory", "^ERR STORAGES 2"),
        ("KVC.GROUP CREATE team STORAGES 0", "^ERR STORAGES .*'0'"),
        ("KVC.GROUP CREATE team STORAGES 1 tape", "^NOSTORAGE .*'tape'"),
        ("KVC.GROUP CREATE team PREFER ssd ALWAYS ssd", "^ERR PREFER and ALWAYS"),
        ("KVC.GROUP CREATE team QUOTA 1 QUOTA 2", "^ERR QUOTA is given twice"),
        ("KVC.GROUP CREATE team COLOUR red", "^ERR unknown group option 'COLOUR'"),
        ("KVC.GROUP UPDATE default VERSION 2 QUOTA 1", "^VERSION .*has version 1, not 2"),
        ("KVC.GROUP UPDATE default VERSION x QUOTA 1", "^ERR VERSION .*'x'"),
        ("KVC.GROUP UPDATE default VERSION 1 QUOTA -1", "^ERR QUOTA"),
        ("KVC.GROUP UPDATE default QUOTA 1 VERSION 1", "^ERR UPDATE needs VERSION"),
        ("KVC.GROUP UPDATE team VERSION 1 QUOTA 1", "^NOKVGROUP .*'team'"),
        ("KVC.GROUP INFO team", "^NOKVGROUP .*'team'"),
        ("KVC.GROUP REMOVE team", "^NOKVGROUP .*'team'"),
        ("KVC.GROUP REMOVE default NOW", "^ERR syntax error"),
        ("KVC.GROUP RENAME default other", "^ERR unknown subcommand"),
    ],
)
def test_a_refused_group_command_changes_nothing(
    server: KvcServer, client: Client, line: str, text: str
) -> None:
    before = server.state()
    with pytest.raises(CommandError, match=text):
        client.line(line)
    assert server.state() == before


def test_a_group_with_instances_goes_only_by_force(client: Client) -> None:
    client.line(REGISTER)
    with pytest.raises(CommandError, match=r"^INUSE"):
        client.line("KVC.GROUP REMOVE default")
    assert client.line("KVC.INSTANCE LIST") == [b"llama"]
    assert client.line("KVC.GROUP REMOVE default FORCE") == b"OK"
    assert client.line("KVC.GROUP LIST") == []
    assert client.line("KVC.INSTANCE LIST") == []


# instances


def test_registering_answers_how_to_reach_the_bytes(client: Client, tmp_path: Path) -> None:
    reply = as_map(client.line(REGISTER))
    assert reply[b"group"] == b"default"
    storages = [as_map(item) for item in reply[b"storages"]]
    assert [item[b"name"] for item in storages] == [b"memory", b"ssd"]
    assert storages[0] == {
        b"name": b"memory",
        b"type": b"memory",
        b"state": b"available",
        b"map": 1,
        b"path": str(tmp_path / "memory").encode(),
    }


def test_a_group_without_mapping_shows_no_path(client: Client) -> None:
    client.line("KVC.GROUP CREATE closed MAP 0")
    line = "KVC.INSTANCE REGISTER one GROUP closed BLOCKTOKENS 1 SPEC kv 5"
    storages = [as_map(item) for item in as_map(client.line(line))[b"storages"]]
    assert [(item[b"map"], item[b"path"]) for item in storages] == [(0, None), (0, None)]


def test_registering_again_is_no_error_whatever_the_order(client: Client) -> None:
    groups = [" SPECGROUP a 2 tp0 tp1", " SPECGROUP b 1 tp1"]
    first = client.line(REGISTER + groups[0] + groups[1] + " USERDATA x MODEL m")
    again = client.line(REGISTER + " MODEL m USERDATA y SPECGROUP b 1 tp1 SPECGROUP a 2 tp1 tp0")
    assert again == first
    info = as_map(client.line("KVC.INSTANCE INFO llama"))
    assert info[b"userdata"] == b"y"
    assert as_map(info[b"spec_groups"]) == {b"a": [b"tp0", b"tp1"], b"b": [b"tp1"]}
    assert as_map(info[b"specs"]) == {b"tp0": 100, b"tp1": 50}


def test_an_instance_shows_what_was_registered(client: Client) -> None:
    client.line(
        REGISTER + " CHAINED 0 HASH vllm-sha256-cbor HASHSEED s MODEL m DTYPE bf16 MLA 1 TP 2 DP 3"
        " PP 4 LORA l EXTRA e USERDATA u"
    )
    info = as_map(client.line("KVC.INSTANCE INFO llama"))
    expected = {
        b"id": b"llama",
        b"group": b"default",
        b"block_tokens": 16,
        b"block_bytes": 150,
        b"chained": 0,
        b"hash": b"vllm-sha256-cbor",
        b"hash_seed": b"s",
        b"model": b"m",
        b"dtype": b"bf16",
        b"mla": 1,
        b"tp": 2,
        b"dp": 3,
        b"pp": 4,
        b"lora": b"l",
        b"extra": b"e",
        b"userdata": b"u",
    }
    assert {name: info[name] for name in expected} == expected


def test_instances_are_listed_by_group(client: Client) -> None:
    client.line("KVC.GROUP CREATE other")
    client.line(REGISTER)
    client.line("KVC.INSTANCE REGISTER qwen GROUP other BLOCKTOKENS 1 SPEC kv 5")
    assert client.line("KVC.INSTANCE LIST") == [b"llama", b"qwen"]
    assert client.line("KVC.INSTANCE LIST GROUP other") == [b"qwen"]


def test_an_instance_id_is_any_bytes(client: Client) -> None:
    words = [b"KVC.INSTANCE", b"REGISTER", b"\x00\xff", b"GROUP", b"default", b"BLOCKTOKENS", b"1"]
    client(*words, b"SPEC", b"kv", b"5")
    assert client.line("KVC.INSTANCE LIST") == [b"\x00\xff"]
    assert as_map(client("KVC.INSTANCE", "INFO", b"\x00\xff"))[b"id"] == b"\x00\xff"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (REGISTER.replace("16", "32"), "^DUPLICATE .*block_tokens"),
        (REGISTER.replace("default", "other"), "^DUPLICATE .*group"),
        (REGISTER + " SPECGROUP a 1 tp0", "^DUPLICATE .*spec_groups"),
        (REGISTER.replace("default", "nowhere"), "^NOKVGROUP .*'nowhere'"),
        (REGISTER.replace("llama", "new").replace("16", "0"), "^ERR BLOCKTOKENS .*'0'"),
        (REGISTER.replace("llama", "new").replace("100", "-1"), "^ERR SPEC tp0 .*'-1'"),
        (REGISTER.replace("llama", "new").replace("tp1", "tp0"), "^ERR SPEC 'tp0' is given twice"),
        (REGISTER.replace("llama", "new") + " SPECGROUP a 1 tp9", "^ERR .*'tp9'"),
        (REGISTER.replace("llama", "new") + " SPECGROUP a 2 tp0", "^ERR SPECGROUP 2"),
        (REGISTER.replace("llama", "new") + " HASH md5", "^ERR unknown HASH 'md5'"),
        (REGISTER.replace("llama", "new") + " HASHSEED x", "^ERR HASH kvcm takes no HASHSEED"),
        (REGISTER.replace("llama", "new") + " CHAINED 2", "^ERR CHAINED .*'2'"),
        (REGISTER.replace("llama", "new") + " TP 0", "^ERR TP .*'0'"),
        (REGISTER.replace("llama", "new") + " COLOUR red", "^ERR unknown instance option"),
        (REGISTER.replace("llama", "new") + " GROUP default", "^ERR GROUP is given twice"),
        ("KVC.INSTANCE REGISTER new GROUP default SPEC a 1 SPEC b 1", "^ERR .*BLOCKTOKENS"),
        ("KVC.INSTANCE REGISTER new", "^ERR wrong number of arguments"),
        ("KVC.INSTANCE INFO nobody", "^NOINSTANCE .*'nobody'"),
        ("KVC.INSTANCE REMOVE nobody", "^NOINSTANCE .*'nobody'"),
        ("KVC.INSTANCE REMOVE llama NOW", "^ERR syntax error"),
        ("KVC.INSTANCE LIST GROUP nowhere", "^NOKVGROUP"),
        ("KVC.INSTANCE LIST TEAM default", "^ERR unknown option 'TEAM'"),
    ],
)
def test_a_refused_instance_command_changes_nothing(
    server: KvcServer, client: Client, line: str, text: str
) -> None:
    client.line("KVC.GROUP CREATE other")
    client.line(REGISTER)
    before = server.state()
    with pytest.raises(CommandError, match=text):
        client.line(line)
    assert server.state() == before


def test_an_instance_with_blocks_goes_only_by_force(client: Client) -> None:
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 1 SPEC kv 5")
    client.line("KVC.PUT one 1 key hello")
    with pytest.raises(CommandError, match=r"^INUSE .*1 blocks"):
        client.line("KVC.INSTANCE REMOVE one")
    assert client.line("KVC.GETLOC one COUNT KEYS 1 key") == 1
    assert client.line("KVC.INSTANCE REMOVE one FORCE") == b"OK"
    assert client.line("KVC.INSTANCE LIST") == []
    client.line("KVC.INSTANCE REGISTER one GROUP default BLOCKTOKENS 1 SPEC kv 5")
    assert client.line("KVC.GETLOC one COUNT KEYS 1 key") == 0


@pytest.mark.parametrize("name", ["KVC.STORAGE", "KVC.GROUP", "KVC.INSTANCE"])
def test_help_names_every_subcommand(server: KvcServer, client: Client, name: str) -> None:
    text = b"\n".join(client(name, "HELP"))
    container = server.engine.commands.lookup(name.encode())
    assert container is not None
    assert container.subcommands
    for subcommand in container.subcommands:
        assert subcommand.upper() in text
