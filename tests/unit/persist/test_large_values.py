"""Large collections in a snapshot: written in many small slices, as they were at the first one."""

from collections.abc import Callable

import pytest
from tests.testing.console import Console
from tests.testing.snapshots import load_snapshot

from hotplate.persist.rdb_writer import RdbWriter

COUNT = 20_000
FILL: dict[bytes, Callable[[int], list[bytes]]] = {
    b"list": lambda n: [b"RPUSH", b"k", b"element:%d" % n],
    b"hash": lambda n: [b"HSET", b"k", b"field:%d" % n, b"value"],
    b"set": lambda n: [b"SADD", b"k", b"member:%d" % n],
    b"zset": lambda n: [b"ZADD", b"k", b"%d" % (n * 7 % COUNT), b"member:%d" % n],
    b"stream": lambda n: [b"XADD", b"k", b"%d-1" % (n + 1), b"field", b"value:%d" % n],
}
READ = {
    b"list": [b"LRANGE", b"k", b"0", b"-1"],
    b"hash": [b"HGETALL", b"k"],
    b"set": [b"SMEMBERS", b"k"],
    b"zset": [b"ZRANGE", b"k", b"0", b"-1", b"WITHSCORES"],
    b"stream": [b"XRANGE", b"k", b"-", b"+"],
}
CHANGE = {
    b"list": [b"LPOP", b"k", b"19000"],
    b"hash": [b"HDEL", b"k", *(b"field:%d" % number for number in range(19_000))],
    b"set": [b"SREM", b"k", *(b"member:%d" % number for number in range(19_000))],
    b"zset": [b"ZREMRANGEBYRANK", b"k", b"0", b"19000"],
    b"stream": [b"XTRIM", b"k", b"MAXLEN", b"10"],
}


@pytest.mark.parametrize("kind", list(FILL))
def test_a_large_value_is_written_in_slices_as_it_was_at_the_first(kind: bytes) -> None:
    console = Console()
    for number in range(COUNT):
        console.run_unchecked(FILL[kind](number))
    before = console(*READ[kind])
    entry = console.ctx.db.shard_of(b"k")[b"k"]
    pieces: list[bytes] = []
    writer = RdbWriter(pieces.append)
    writer.start({})
    writer.select(0, 1, 0)
    slices = 0
    for _ in writer.add_in_slices(b"k", entry):
        slices += 1
        if slices == 1:
            console.run_unchecked(CHANGE[kind])
    writer.finish()
    assert console(*READ[kind]) != before
    assert slices >= 20  # hundreds of elements each
    assert load_snapshot(b"".join(pieces))(*READ[kind]) == before
