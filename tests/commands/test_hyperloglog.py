"""Commands on HyperLogLogs: what the differential run cannot show or explain."""

import pytest
from tests.testing.server_console import ServerConsole as Console

from hotplate.errors import CommandError

CORRUPT = b"HYLL\x01" + bytes(11) + b"\x7f\xfe"


@pytest.fixture(params=[2, 3])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(resp=request.param)


@pytest.fixture
def events(console: Console) -> list[tuple[bytes, str]]:
    seen: list[tuple[bytes, str]] = []
    console.ctx.db.observer = lambda index, key, event: seen.append((key, event))
    return seen


def refusal(console: Console, *words: str) -> str:
    with pytest.raises(CommandError) as caught:
        console(*words)
    return caught.value.message.decode()


def test_different_elements_are_counted(console: Console) -> None:
    assert console("PFADD k a b c") == 1
    assert console("PFADD k c a") == 0
    assert console("PFCOUNT k") == 3
    assert console("PFADD k d") == 1
    assert console("PFCOUNT k") == 4
    assert console("PFCOUNT none") == 0
    assert console("TYPE k") == b"string"


def test_a_key_is_made_without_elements_once(console: Console) -> None:
    assert console("PFADD k") == 1
    assert console("PFADD k") == 0
    assert console("PFCOUNT k") == 0


def test_counting_several_keys_counts_their_union(console: Console) -> None:
    console("PFADD a 1 2 3")
    console("PFADD b 3 4")
    assert console("PFCOUNT a b none") == 4
    assert console("PFMERGE c a b") == b"OK"
    assert console("PFCOUNT c") == 4
    assert console("PFMERGE a") == b"OK"
    assert console("PFCOUNT a") == 3


def test_a_large_one_becomes_dense_by_its_setting_and_the_count_stays_near(
    console: Console,
) -> None:
    elements = [str(number) for number in range(200)]
    console("PFADD", "k", *elements)
    assert console("PFDEBUG ENCODING k") == b"sparse"
    console("CONFIG SET hll-sparse-max-bytes 100")
    console("PFADD", "l", *elements)
    assert console("PFDEBUG ENCODING l") == b"dense"
    assert console("PFCOUNT l") == console("PFCOUNT k")
    assert abs(console("PFCOUNT l") - 200) < 8
    assert console("PFDEBUG GETREG l") == console("PFDEBUG GETREG k")
    assert console("PFDEBUG ENCODING k") == b"dense"
    console("PFADD s a")
    console("PFMERGE s l")
    assert console("PFDEBUG ENCODING s") == b"dense"


def test_the_cached_count_is_part_of_the_string(console: Console) -> None:
    console("PFADD k a b")
    assert console("GETRANGE k 8 15") == b"\0\0\0\0\0\0\0\x80"
    console("PFCOUNT k")
    assert console("GETRANGE k 8 15") == b"\x02\0\0\0\0\0\0\0"
    console("PFADD k c")
    assert console("GETRANGE k 8 15") == b"\x02\0\0\0\0\0\0\x80"


def test_a_string_that_is_moved_by_get_and_set_counts_the_same(console: Console) -> None:
    console("PFADD", "k", *[str(number) for number in range(5000)])
    console("SET", "copy", console("GET k"))
    assert console("PFCOUNT copy") == console("PFCOUNT k")
    assert console("PFADD copy 1") == 0
    assert console("PFADD copy 5000 5001 5002 5003") == 1


def test_only_changes_are_told(console: Console, events: list[tuple[bytes, str]]) -> None:
    console("PFADD k a")
    console("PFADD k a")
    console("PFCOUNT k")
    console("PFMERGE m k")
    console("PFDEBUG TODENSE k")
    console("PFDEBUG TODENSE k")
    assert events == [(b"k", "pfadd"), (b"m", "pfadd"), (b"k", "pfadd")]


def test_other_strings_and_types_are_refused_and_stay(console: Console) -> None:
    console("SET k foo")
    text = "WRONGTYPE Key is not a valid HyperLogLog string value."
    for line in ("PFADD k a", "PFCOUNT k", "PFCOUNT k none", "PFMERGE k k", "PFMERGE new k"):
        assert refusal(console, line) == text
    assert console("GET k") == b"foo"
    assert console("DBSIZE") == 1


def test_runs_that_contradict_themselves_are_refused(console: Console) -> None:
    console("SET", "k", CORRUPT.replace(b"\0\x7f", b"\x80\x7f"))
    text = "INVALIDOBJ Corrupted HLL object detected"
    for line in ("PFCOUNT k", "PFCOUNT k none", "PFMERGE new k", "PFDEBUG GETREG k"):
        assert refusal(console, line) == text
    assert console("DBSIZE") == 1


def test_what_there_is_to_look_inside(console: Console) -> None:
    console("PFADD k a b c")
    assert console("PFDEBUG DECODE k") == b"Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603"
    assert console("PFDEBUG todense k") == 1
    assert console("PFDEBUG TODENSE k") == 0
    assert sum(console("PFDEBUG GETREG k")) == 4
    assert refusal(console, "PFDEBUG DECODE k") == "ERR HLL encoding is not sparse"
    assert refusal(console, "PFDEBUG FOO k") == "ERR Unknown PFDEBUG subcommand 'FOO'"
    assert refusal(console, "PFDEBUG ENCODING none") == "ERR The specified key does not exist"
    assert console("PFSELFTEST") == b"OK"
