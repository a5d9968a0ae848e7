"""Runs of XADD: what a pipeline of plain requests to one stream costs least.

As in string_runs: takes consecutive requests from `start` on, as long as each is plain (`*`, no
options, the key there without expiry, nobody watching), appends their frames and answers the index
after the last one it took. What it leaves the ordinary handler takes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.stream import Stream
from hotplate.keyspace.stream_entry import ID_MAX, SEQUENCE_BITS, SEQUENCE_MAX, build_frame
from hotplate.resp.shared import BULK_HEADERS, CRLF

if TYPE_CHECKING:
    from hotplate.engine.context import Context


def xadd_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """XADD key * field value [field value ...], all with the same key."""
    first = requests[start]
    db = ctx.db
    if db.observer is not None or len(first) < 5:
        return start
    name, key = first[0], first[1]
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    stream = None if entry is None else entry.value
    if entry is None or entry.expire_at_ms or type(stream) is not Stream:
        return start
    now_ms = ctx.now_ms
    entry.accessed_ms = now_ms
    index = start
    for index in range(start, len(requests)):
        argv = requests[index]
        if not len(argv) & 1 or len(argv) < 5 or argv[2] != b"*":
            break
        if argv[1] != key or argv[0] != name:
            break
        last_id = stream.last_id
        time_ms = last_id >> SEQUENCE_BITS
        if now_ms > time_ms:
            entry_id = now_ms << SEQUENCE_BITS
            text = b"%d-0" % now_ms
        elif last_id != ID_MAX:
            entry_id = last_id + 1
            text = b"%d-%d" % (entry_id >> SEQUENCE_BITS, entry_id & SEQUENCE_MAX)
        else:
            break
        stream.append(entry_id, build_frame(text, argv[3:]))
        append(BULK_HEADERS[len(text)])
        append(text)
        append(CRLF)
    else:
        index = len(requests)
    db.dirty += index - start
    return index
