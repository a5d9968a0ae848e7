"""Runs of XADD: what a pipeline of plain requests to one stream costs least.

As in string_runs: takes consecutive requests from `start` on, as long as each is plain (`*`, at
most MAXLEN ~, the key there without expiry, nobody watching), appends their frames and answers the
index after the last one it took. What it leaves the ordinary handler takes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hotplate.commands.stream_arguments import TRIM_LIMIT
from hotplate.keyspace.database import SHARD_MASK
from hotplate.keyspace.stream import Stream, Trim
from hotplate.keyspace.stream_entry import ID_MAX, SEQUENCE_BITS, SEQUENCE_MAX, build_frame
from hotplate.resp.shared import BULK_HEADERS, CRLF
from hotplate.spec.args import read_int

if TYPE_CHECKING:
    from hotplate.engine.context import Context


def plain_form(argv: list[bytes]) -> tuple[int, int]:
    """Where the fields of an XADD begin and the length it keeps to (-1: any), in a plain form.

    Plain are `*` and `MAXLEN ~ length *`, what producers usually send; 0 and -1 for others.
    """
    if argv[2] == b"*":
        return 3, -1
    if len(argv) < 8 or argv[5] != b"*" or argv[3] != b"~" or argv[2].upper() != b"MAXLEN":
        return 0, -1
    length_max = read_int(argv[4])
    if length_max is None or length_max < 0:
        return 0, -1
    return 6, length_max


def xadd_run(
    ctx: "Context", requests: list[Any], start: int, append: Callable[[Any], object]
) -> int:
    """XADD key * field value [field value ...], or with MAXLEN ~ length, all to one key alike."""
    first = requests[start]
    db = ctx.db
    if db.observer is not None or len(first) < 5:
        return start
    name, key = first[0], first[1]
    fields_at, length_max = plain_form(first)
    entry = db.shards[hash(key) & SHARD_MASK].get(key)
    stream = None if entry is None else entry.value
    if not fields_at or entry is None or entry.expire_at_ms or type(stream) is not Stream:
        return start
    if stream.last_id == ID_MAX:
        return start
    now_ms = ctx.now_ms
    entry.accessed_ms = now_ms
    prefix = first[1:fields_at]
    entry_id = max(now_ms << SEQUENCE_BITS, stream.last_id + 1)
    sequence = entry_id & SEQUENCE_MAX
    time = b"%d-" % (entry_id >> SEQUENCE_BITS)  # all of the run have it
    last = min(len(requests), start + SEQUENCE_MAX - sequence)
    index = start
    for index in range(start, last):
        argv = requests[index]
        if argv[1:fields_at] != prefix or argv[0] != name:
            break
        if len(argv) - fields_at & 1 or len(argv) <= fields_at:
            break
        text = time + b"%d" % sequence
        stream.append(entry_id, build_frame(text, argv[fields_at:]))
        entry_id += 1
        sequence += 1
        if length_max >= 0 and stream.has_spare_chunk(length_max):
            stream.trim(Trim(length_max, approximate=True, limit=TRIM_LIMIT))
            db.dirty += 1
        append(BULK_HEADERS[len(text)])
        append(text)
        append(CRLF)
    else:
        index = last
    db.dirty += index - start
    return index
