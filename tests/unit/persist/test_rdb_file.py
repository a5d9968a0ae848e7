"""Snapshots: what is written is read again, and whatever is damaged is found."""

import random
from contextlib import suppress
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.all_types import content, fill
from tests.testing.old_encodings import pack_blob, pack_ziplist
from tests.testing.server_console import ServerConsole as Console
from tests.testing.snapshots import load_snapshot, reader_of, write_snapshot

from hotplate.config import Config
from hotplate.keyspace.crc64 import crc64
from hotplate.keyspace.entry import Entry
from hotplate.keyspace.rdb import PlainSet, PlainString
from hotplate.keyspace.rdb_bytes import RdbError, pack_string
from hotplate.persist.rdb_reader import (
    Field,
    Keyed,
    Library,
    RdbFileError,
    Record,
    Sizes,
    Skipped,
    Strings,
)
from hotplate.persist.rdb_writer import PIECE_BYTES, RdbWriter

LATER_MS = 1_900_000_000_000


def everything() -> Console:
    """A server with all that there is to save."""
    console = Console()
    fill(console)
    console("SELECT 3")
    console("SET", "timed", "x", "PXAT", LATER_MS)
    console("RPUSH timed:list a b")
    console("PEXPIREAT", "timed:list", LATER_MS + 1)
    console("HSET fields a 1 b 2 c 3")
    console("HPEXPIREAT", "fields", LATER_MS, "FIELDS", 2, "a", "c")
    console("CL.THROTTLE throttled 15 30 60 7")
    console("LB.ACQUIRE 2 reserved leased LIMIT RATE 9 1 60000 2 CONC 2 ID r")
    console("XADD work 1-1 f v")
    console("XADD work 2-1 f v")
    console("XGROUP CREATE work g 0")
    console("XGROUP POLICY work g VISIBILITY 1000 MAXDELIVER 3 DEAD dead BACKOFF 10 100")
    console("XREADGROUP GROUP g alice COUNT 1 STREAMS work >")
    console.clock.advance(5)
    console("XREADGROUP GROUP g bob STREAMS work >")
    console("XADD known IDMP producer m1 * f v")
    return console


def keys_of(console: Console) -> dict[tuple[int, bytes], Any]:
    """Every key of every database with its content, expiry and encoding."""
    found = {}
    for database in (0, 3):
        console("SELECT", database)
        for key in console("KEYS *"):
            if console("TYPE", key) in (b"leakybucket", b"leases"):
                found[database, key] = console("LB.INFO", key)
                continue
            else:
                value = content(console, key)
            about = (console("PEXPIRETIME", key), console("OBJECT", "ENCODING", key))
            found[database, key] = (value, *about)
    return found


@pytest.mark.parametrize("piece_bytes", [1 << 20, 7001])
@pytest.mark.parametrize("checksum", [False, True])
def test_what_is_saved_is_loaded(piece_bytes: int, checksum: bool) -> None:
    ours = everything()
    loaded = load_snapshot(write_snapshot(ours.engine, checksum=checksum), piece_bytes=piece_bytes)
    expected = keys_of(ours)
    assert keys_of(loaded) == expected
    assert len(expected) > 30
    for database in ours.engine.databases:
        other = loaded.engine.databases[database.index]
        assert (other.size(), other.expiring_count) == (database.size(), database.expiring_count)


def test_what_rdb_has_no_form_for_is_loaded_too() -> None:
    loaded = load_snapshot(write_snapshot(everything().engine))
    loaded.clock.advance(5)
    loaded("SELECT 3")
    assert loaded("HPEXPIRETIME fields FIELDS 3 a b c") == [LATER_MS, -1, LATER_MS]
    added = loaded("XRANGE known - +")[0][0]
    assert loaded("XADD known IDMP producer m1 * f v") == added
    before = loaded("XINFO GROUPS work")
    ours = everything()
    assert before == ours("XINFO GROUPS work")
    assert loaded("XINFO CONSUMERS work g") == ours("XINFO CONSUMERS work g")


def test_a_bucket_drains_while_the_server_is_away_and_not_more() -> None:
    ours = Console()
    ours("CL.THROTTLE b 9 10 10 10")
    data = write_snapshot(ours.engine)
    away = Console()
    away.clock.advance(3000)
    away("PING")
    loaded = load_snapshot(data, away)
    # three tokens in three seconds, less the millisecond by which the clocks are read too coarsely
    assert loaded("CL.THROTTLE b 9 10 10 0")[2] == 2
    loaded.clock.advance(1)
    assert loaded("CL.THROTTLE b 9 10 10 0")[2] == 3
    away = Console()
    away.clock.advance(60_000)
    away("PING")
    assert load_snapshot(data, away)("DBSIZE") == 0


def test_times_of_fields_are_hidden_from_redis_7() -> None:
    ours = everything()
    data = write_snapshot(ours.engine, for_redis_7=True)
    assert b"\x18\x06fields" not in data  # the type that has times
    loaded = load_snapshot(data)
    loaded("SELECT 3")
    assert loaded("HPEXPIRETIME fields FIELDS 3 a b c") == [LATER_MS, -1, LATER_MS]


def test_expired_keys_are_left_out_of_what_is_loaded() -> None:
    ours = Console()
    ours("SET", "soon", "v", "PX", 10)
    ours("RPUSH soon:list a")
    ours("PEXPIRE soon:list 10")
    ours("SET stays v")
    later = Console()
    later.clock.advance(11)
    later("PING")
    assert load_snapshot(write_snapshot(ours.engine), later)("DBSIZE") == 1


def test_a_large_value_is_written_in_slices() -> None:
    pieces: list[bytes] = []
    writer = RdbWriter(pieces.append)
    writer.start({})
    writer.select(0, 1, 0)
    console = Console()
    console("SADD", "k", *(b"member %d" % number for number in range(100_000)))
    entry = console.engine.databases[0].lookup_write(b"k", 0)
    assert entry is not None
    slices = writer.add_in_slices(b"k", entry)
    count = 0
    for _ in slices:
        count += 1
        if count == 3:
            console("SREM", "k", "member 99999")
            console("SADD", "k", "new")
    writer.finish()
    assert count > 100
    assert max(map(len, pieces)) < 2 * PIECE_BYTES
    loaded = load_snapshot(b"".join(pieces))
    assert loaded("SCARD k") == 100_000
    assert loaded("SMISMEMBER", "k", "member 99999", "new") == [1, 0]


small = st.one_of(
    st.binary(max_size=12),
    st.integers(-(2**33), 2**33).map(lambda number: b"%d" % number),
    st.sampled_from([63, 64, 16383, 16384, 70_000]),  # so many bytes
)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(small, small, st.sampled_from([0, 0, LATER_MS])), max_size=30),
    st.integers(2000, 200_000),
    st.integers(0, 3),
)
def test_runs_of_strings_are_read_whatever_their_sizes(
    items: list[tuple[bytes | int, bytes | int, int]], piece_bytes: int, repeats: int
) -> None:
    pieces: list[bytes] = []
    writer = RdbWriter(pieces.append, checksum=True)
    writer.start({})
    expected = []
    # enough of them that the fast loop runs too
    for round_ in range(repeats * 200 // max(len(items), 1) + 1):
        for key, value, expire_at_ms in items:
            name, text = (b"x" * it if isinstance(it, int) else it for it in (key, value))
            if repeats:
                name = b"%d:%b" % (round_, name)
            writer.add(name, Entry(text, expire_at_ms, 0))
            expected.append((name, text, expire_at_ms))
    writer.finish()
    assert strings_of(reader_of(b"".join(pieces), piece_bytes).records()) == expected


def strings_of(records: Any) -> list[tuple[bytes, bytes, int]]:
    found: list[tuple[bytes, bytes, int]] = []
    for record in records:
        if isinstance(record, Strings):
            found += zip(record.keys, record.values, record.expiries_ms, strict=True)
        elif isinstance(record, Keyed):
            assert isinstance(record.value, PlainString)
            found.append((record.key, record.value.text, record.expire_at_ms))
    return found


# -- damage ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample() -> bytes:
    """A small file with one of each record."""
    console = everything()
    console("SELECT 0")
    for key in ("bits", "sketch", "dense", "list:large", "list:wide", "set:large", "hash:wide"):
        console("DEL", key)
    for key in ("zset:large", "hash:large", "stream:large", "long"):
        console("DEL", key)
    return write_snapshot(console.engine, libraries=[b"#!lua name=lib\n"])


@pytest.mark.parametrize("checksum", [False, True])
def test_every_flipped_bit_is_found(sample: bytes, checksum: bool) -> None:
    data = write_snapshot(load_snapshot(sample).engine, checksum=True) if checksum else sample
    rng = random.Random(1)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.randrange(8)
        with pytest.raises(RdbFileError):
            list(reader_of(bytes(damaged)).records())


def test_every_truncation_is_found(sample: bytes) -> None:
    for size in range(len(sample)):
        with pytest.raises(RdbFileError) as caught:
            list(reader_of(sample[:size]).records())
        assert 0 <= caught.value.offset <= size


def test_damage_is_found_where_it_is() -> None:
    pieces: list[bytes] = []
    writer = RdbWriter(pieces.append)
    writer.start({})
    for number in range(30_000):
        writer.add(b"key number %d" % number, Entry(b"value of number %d" % number, 0, 0))
    writer.finish()
    data = bytearray(b"".join(pieces))
    at = data.index(b"value of number 20000")
    data[at] ^= 1
    with pytest.raises(RdbFileError, match="do not match their sum") as caught:
        list(reader_of(bytes(data)).records())
    assert 0 < at - caught.value.offset < 2 * PIECE_BYTES


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_the_reader_ends(junk: bytes) -> None:
    for head in (b"", b"REDIS0010"):
        with suppress(RdbFileError):
            for record in reader_of(head + junk, 13).records():
                assert record is not None


def test_a_key_that_comes_twice_is_refused() -> None:
    body = b"REDIS0010\xfe\x00" + b"\x00\x01a\x01b" * 2 + b"\xff" + bytes(8)
    with pytest.raises(RdbError, match="1 keys that are in the file twice"):
        load_snapshot(body)


def test_a_database_that_is_not_there_is_refused() -> None:
    with pytest.raises(RdbError, match=f"database 16, of {Config().databases}"):
        load_snapshot(b"REDIS0010\xfe\x10\x00\x01a\x01b\xff" + bytes(8))


# -- what others write -----------------------------------------------------------------------------


def records_of(body: bytes, version: bytes = b"REDIS0011") -> list[Record]:
    data = version + body + b"\xff"
    return list(reader_of(data + pack("<Q", crc64(data))).records())


def test_all_codes_of_redis_are_known() -> None:
    assert records_of(
        b"\xfa\x03ctx\x01v"  # a field
        b"\xf5\x04code"
        b"\xfe\x02\xfb\x05\x01"  # database and sizes
        b"\xf4\x01\x02\x03"  # slots
        b"\xf8\x07\x00\x01a\xc1\x39\x30"  # idle, integer of two bytes
        b"\xf9\x05\xfd\x01\x00\x00\x00\x02\x01s\x01\x01m"  # frequency, seconds
    ) == [
        Field(b"ctx", b"v"),
        Library(b"code"),
        Sizes(2, 5, 1),
        Keyed(2, b"a", PlainString(b"12345"), 0, 7, {}),
        Keyed(2, b"s", PlainSet([b"m"]), 1000, None, {}),
    ]


def test_compressed_strings_are_read() -> None:
    packed = b"\xc3\x05\x0a" + b"\x00a\xe0\x00\x00"  # nine more of the letter before
    assert records_of(b"\x00\x01k" + packed)[0].value.text == b"a" * 10  # type: ignore[union-attr]


def test_what_modules_left_is_skipped_by_name() -> None:
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = 0
    for letter in b"ReJSON-RL":
        number = number << 6 | letters.index(letter)
    module = b"\x81" + pack(">Q", number << 10 | 3)
    data = b"\x02\x05\x01\x06\x03\0\0\0\0\x04" + bytes(8) + b"\x05\x03abc\x00"
    assert records_of(b"\xf7" + module + data + b"\x07\x03key" + module + data) == [
        Skipped(0, b"", "data of the module ReJSON-RL"),
        Skipped(0, b"key", "a value of the module ReJSON-RL"),
    ]
    with pytest.raises(RdbError, match="b'key' holds a value of the module ReJSON-RL"):
        load_snapshot(b"REDIS0011\x07\x03key" + module + data + b"\xff" + bytes(8))


def test_old_files_without_a_sum_are_read() -> None:
    ziplist = b"\x0a\x01l" + pack_blob(pack_ziplist([b"a", b"1"]))
    assert len(list(reader_of(b"REDIS0003" + ziplist + b"\xff").records())) == 1


def test_a_wrong_crc_is_found() -> None:
    data = b"REDIS0010\x00\x01a\x01b\xff"
    right = pack("<Q", crc64(data))
    assert strings_of(reader_of(data + right).records()) == [(b"a", b"b", 0)]
    assert strings_of(reader_of(data + bytes(8)).records()) == [(b"a", b"b", 0)]
    with pytest.raises(RdbFileError, match="does not match its CRC-64"):
        list(reader_of(data + pack("<Q", crc64(data) ^ 1)).records())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the bytes end too early"),
        (b"*3\r\n$3\r\nSET\r\n", "no snapshot: it does not begin with REDIS or VALKEY"),
        (b"REDIS0014", "a snapshot of the unknown version 14"),
        (b"VALKEY099", "a snapshot of the unknown version 99"),
        (b"REDIS0010\xf6", "functions of a release candidate of Redis 7.0"),
        (b"REDIS0010\x1a\x01k", "b'k' holds a stream of a later version"),
        (b"REDIS0010\xfa" + pack_string(b"hotplate-sums") + b"\x012", "of an unknown version"),
        (b"REDIS0010\xfc" + bytes(8) + b"\xff", "the end, where a key should be"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(RdbFileError, match=message):
        list(reader_of(data).records())
