"""Memory of a stream's entry, and of a pending one, beside redis-server.

    python -m tests.tools.stream_memory

Ours is what Python allocated, Redis' is what INFO memory says.
"""

import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import redis

from hotplate.bench.process import start_redis
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import ID_MAX, build_frame, format_id
from hotplate.keyspace.stream_group import Group

ENTRIES: Final = 50_000
READ: Final = 10  # entries of one delivery
FIRST_MS: Final = 1_700_000_000_000
PAYLOADS: Final = (16, 200, 2000)


def grown(work: Callable[[], object]) -> float:
    """Bytes an entry that `work` allocates and that its answer keeps."""
    tracemalloc.start()
    kept = work()
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return size_bytes / ENTRIES


def build(payload: int) -> Stream:
    """A stream with one field an entry, about two entries a millisecond."""
    stream = Stream()
    for number in range(ENTRIES):
        entry_id = FIRST_MS + number // 2 << 64 | number % 2
        value = b"%0*d" % (payload, number)
        stream.append(entry_id, build_frame(format_id(entry_id), [b"payload", value]))
    return stream


def deliver(stream: Stream) -> Group:
    """A group with every entry pending."""
    group = Group(0)
    consumer = group.create_consumer(b"worker", 0)
    ids, _ = stream.between(0, ID_MAX)
    for start in range(0, ENTRIES, READ):
        group.deliver(consumer, ids[start : start + READ], FIRST_MS)
    return group


def measure_redis(client: Any, payload: int) -> tuple[float, float]:
    """Bytes of an entry, and of a pending one."""
    client.flushall()
    empty = client.info("memory")["used_memory"]
    pipeline = client.pipeline(transaction=False)
    for number in range(ENTRIES):
        entry_id = f"{FIRST_MS + number // 2}-{number % 2}"
        pipeline.execute_command("XADD", "s", entry_id, "payload", b"%0*d" % (payload, number))
    pipeline.execute()
    full = client.info("memory")["used_memory"]
    client.execute_command("XGROUP", "CREATE", "s", "g", "0")
    read = ("XREADGROUP", "GROUP", "g", "worker", "COUNT", ENTRIES, "STREAMS", "s", ">")
    client.execute_command(*read)
    pending = client.info("memory")["used_memory"]
    return (full - empty) / ENTRIES, (pending - full) / ENTRIES


def main() -> int:
    """Print a table."""
    print(f"{'payload':>8} {'entry':>8} {'Redis':>8} {'pending':>8} {'Redis':>8}   bytes")
    with tempfile.TemporaryDirectory() as directory, start_redis(Path(directory)) as server:
        client = redis.Redis(port=server.port)
        for payload in PAYLOADS:
            entry = grown(partial(build, payload))
            stream = build(payload)
            pending = grown(partial(deliver, stream))
            their_entry, their_pending = measure_redis(client, payload)
            print(
                f"{payload:8} {entry:8.0f} {their_entry:8.0f} {pending:8.0f} {their_pending:8.0f}"
            )
            del stream
    return 0


if __name__ == "__main__":
    sys.exit(main())
