"""Damage to the log is found, named, and never served: every byte flipped, every length cut."""

import pytest
import xxhash
from tests.testing.logged import DIRECTORY, Logged
from tests.testing.memory_files import MemoryFiles
from tests.testing.state import State, state_of

from hotplate.persist.group import VERSION, FormatVersionError, file_header, parse_file_header
from hotplate.persist.log_reader import DamageError, LogReader
from hotplate.persist.replay import LoadError

PATH = f"{DIRECTORY}/appendonly.aof.1.incr.aof"


def written() -> tuple[MemoryFiles, list[State]]:
    """A log of some groups, and the states after each of them."""
    server = Logged(MemoryFiles()).start()
    states = [state_of(server.engine)]
    for line in ("SET a 1", "RPUSH l x", "INCR a", "DEL l"):
        server.clock.advance(2)
        server(line)
        states.append(state_of(server.engine))
    return server.files.after_kill(), states


def with_log(files: MemoryFiles, data: bytes) -> MemoryFiles:
    """The same files, another log."""
    found = files.after_kill()
    found.inodes[PATH].data[:] = data
    return found


def synced(files: MemoryFiles) -> MemoryFiles:
    """What a clean end of the server leaves."""
    server = Logged(files.after_kill()).start()
    server("SET last 1")
    server.appendonly.stop()
    return server.files.after_kill()


def test_every_cut_loses_whole_groups_at_the_end_and_nothing_else() -> None:
    files, states = written()
    data = bytes(files.inodes[PATH].data)
    start = LogReader(files, PATH).start
    for end in range(start, len(data)):
        server = Logged(with_log(files, data[:end])).load()
        assert state_of(server.engine) in states
        dropped = server.appendonly.progress.dropped_bytes
        pieces = [piece.end for piece in LogReader(files, PATH).pieces()]
        assert dropped == end - max([start, *(at for at in pieces if at <= end)])


def test_every_flipped_bit_of_the_last_writes_is_a_lost_tail() -> None:
    files, states = written()
    data = bytearray(files.inodes[PATH].data)
    for at in range(LogReader(files, PATH).start, len(data)):
        data[at] ^= 1 << at % 8
        server = Logged(with_log(files, bytes(data))).load()
        assert state_of(server.engine) in states[:-1]
        assert server.appendonly.progress.dropped_bytes > 0
        data[at] ^= 1 << at % 8


def test_every_flipped_bit_of_what_was_on_disk_is_refused() -> None:
    files = synced(written()[0])
    data = bytearray(files.inodes[PATH].data)
    last = max(piece.end for piece in LogReader(files, PATH).pieces() if piece.requests)
    for at in range(last):
        data[at] ^= 1 << at % 8
        with pytest.raises(LoadError, match=r"damaged at offset .*hotplate check"):
            Logged(with_log(files, bytes(data))).load()
        data[at] ^= 1 << at % 8


def test_a_damaged_tail_is_refused_where_the_setting_says_so() -> None:
    files, _ = written()
    cut = with_log(files, bytes(files.inodes[PATH].data[:-3]))
    with pytest.raises(LoadError, match="cut off; run `hotplate check /log` or set aof-load-trunc"):
        Logged(cut, aof_load_truncated="no").load()


def test_a_cut_log_is_gone_on_with() -> None:
    files, states = written()
    server = Logged(with_log(files, bytes(files.inodes[PATH].data[:-3]))).start()
    assert state_of(server.engine) == states[-2]
    server("SET b 1")
    restarted = server.restarted()
    assert state_of(restarted.engine) == state_of(server.engine)
    assert restarted.appendonly.progress.dropped_bytes == 0


def test_later_groups_that_survived_a_power_failure_alone_are_dropped() -> None:
    server = Logged(MemoryFiles()).start()
    for number in range(6):
        server(f"SET k{number} 1")
    alone = [
        files
        for files in server.files.outcomes()
        if b"k5" in files.get(PATH, b"") and b"k0" not in files[PATH]
    ]
    assert alone
    for files in alone:
        restarted = Logged(server.files.found(files)).load()
        assert not state_of(restarted.engine)
        assert restarted.appendonly.progress.dropped_bytes > 0


def test_a_group_in_another_place_is_not_taken() -> None:
    files, _ = written()
    data = bytes(files.inodes[PATH].data)
    ends = [piece.end for piece in LogReader(files, PATH).pieces()]
    moved = data[: ends[1]] + data[ends[2] : ends[3]] + data[ends[1] : ends[2]] + data[ends[3] :]
    restarted = Logged(with_log(files, moved)).load()
    assert restarted.appendonly.progress.dropped_bytes > 0


def test_a_later_version_is_refused_by_name() -> None:
    header = file_header(7).replace(b" %d " % VERSION, b" 2 ")
    text = header.rpartition(b" ")[0]
    line = b"%b %016x\r\n" % (text, xxhash.xxh3_64_intdigest(text))
    with pytest.raises(FormatVersionError, match="format 2 is newer"):
        parse_file_header(line)
    files, _ = written()
    data = bytes(files.inodes[PATH].data)
    with pytest.raises(LoadError, match="format 2 is newer than this server, which reads up to 1"):
        Logged(with_log(files, line + data[len(header) :])).load()


def plain(data: bytes) -> MemoryFiles:
    """A log that Redis wrote."""
    files = MemoryFiles()
    files.directories.add(DIRECTORY)
    for name, content in (
        ("appendonly.aof.1.incr.aof", data),
        ("appendonly.aof.manifest", b"file appendonly.aof.1.incr.aof seq 1 type i\n"),
    ):
        handle = files.open_append(f"{DIRECTORY}/{name}")
        files.write(handle, content)
    return files


_SET_A = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
_REDIS = b"#TS:1700000000\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n" + _SET_A


def test_a_log_of_redis_is_read_and_gone_on_with_in_a_file_of_ours() -> None:
    server = Logged(plain(_REDIS + b"*3\r\n$9\r\nPEXPIREAT\r\n$1\r\na\r\n$1\r\n5\r\n")).start()
    server.console("PERSIST a")
    server.flush()
    assert sorted(server.files.names(DIRECTORY))[:2] == [
        "appendonly.aof.1.incr.aof",
        "appendonly.aof.2.incr.aof",
    ]
    assert state_of(server.restarted().engine) == state_of(server.engine)


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (b"*3\r\n$3\r\nSET\r\n$1\r\na", "the last request is cut off"),
        (b"*3\r\n$3\r", "the last request is cut off"),
        (b"*1\r\n$5\r\nMULTI\r\n" + _SET_A, "a transaction has no end"),
    ],
)
def test_an_incomplete_end_of_a_log_of_redis_is_dropped(tail: bytes, why: str) -> None:
    files = plain(_REDIS + tail)
    with pytest.raises(DamageError, match=why) as caught:
        list(LogReader(files, PATH).pieces())
    assert (caught.value.offset, caught.value.dropped) == (len(_REDIS), len(tail))
    server = Logged(files).start()
    assert state_of(server.engine) == {(0, b"a"): (0, b"1")}
    assert server.appendonly.progress.dropped_bytes == len(tail)
    assert bytes(server.files.inodes[PATH].data) == _REDIS


@pytest.mark.parametrize(
    "rest", [b"*x\r\n", b"hello\r\n", b"*1\r\n:5\r\n", b"*1\r\n$1\r\nabcd\r\n", b"x" * 500]
)
def test_nonsense_in_a_log_of_redis_is_refused(rest: bytes) -> None:
    with pytest.raises(LoadError, match=f"damaged at offset {len(_REDIS)}"):
        Logged(plain(_REDIS + rest + _SET_A)).load()


def test_an_unknown_command_is_refused_by_name() -> None:
    with pytest.raises(LoadError, match="does not have: b'NOSUCH a'"):
        Logged(plain(_REDIS + b"*2\r\n$6\r\nNOSUCH\r\n$1\r\na\r\n")).load()


def test_a_missing_file_is_refused_by_name() -> None:
    files, _ = written()
    del files.inodes[PATH]
    with pytest.raises(LoadError, match=r"incr\.aof is missing"):
        Logged(files).load()


def test_a_damaged_file_before_the_last_one_is_refused() -> None:
    files, _ = written()
    server = Logged(files).start()
    server.appendonly.log.finish()
    server.appendonly.open_increment()
    server("SET z 1")
    found = server.files.after_kill()
    del found.inodes[PATH].data[-200:]
    with pytest.raises(LoadError, match="damaged at offset"):
        Logged(found).load()
