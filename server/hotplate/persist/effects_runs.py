"""Effects of runs of requests (`CommandSpec.run`), for commands that are not logged as sent.

A run handler takes plain requests only, so that most of these have nothing to translate. Each gets
the requests that were taken and the frames that answered them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.keyspace.stream import Stream

Requests = list[list[bytes]]
RunTranslator = Callable[[Context, list[list[bytes]], list[Any]], Requests]


def _as_sent(ctx: Context, requests: list[list[bytes]], frames: list[Any]) -> Requests:
    return requests


def _xadd(ctx: Context, requests: list[list[bytes]], frames: list[Any]) -> Requests:
    """XADD key [MAXLEN ~ length] * field value ...: the reply of each is header, id, CRLF."""
    key = requests[0][1]
    fields_at = 3 if requests[0][2] == b"*" else 6
    added = [
        [b"XADD", key, text, *argv[fields_at:]]
        for argv, text in zip(requests, frames[1::3], strict=True)
    ]
    if fields_at != 3:
        entry = ctx.db.shard_of(key).get(key)
        assert entry is not None
        assert isinstance(entry.value, Stream)
        added.append([b"XTRIM", key, b"MAXLEN", b"=", b"%d" % len(entry.value)])
    return added


RUNS: Final[Mapping[str, RunTranslator]] = {"set": _as_sent, "xadd": _xadd}
