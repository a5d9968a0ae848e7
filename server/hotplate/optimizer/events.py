"""The traffic of a running server as a trace: from the events of one instance.

    lookup (GetCacheLocation, prefix)       a request for its keys
    write  (StartWriteCache, PutCache)      of the same chain: belongs to the lookup before it, and
                                            what it goes beyond it was written without being asked

A write that no lookup came before (an engine that only stores, or a lookup that was not sampled) is
a request that asks for nothing. Lookups that do not count as a use are left out. Events are read
from the Stream `kvc:events:<instance>` (docs/observability.md), as far back as it goes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from redis.exceptions import RedisError

from hotplate.clients import KVCache
from hotplate.optimizer.trace import Request, Trace, TraceError, check_chains, numbered
from hotplate.wire.events import unpack_list

_PAGE: Final = 1000
_PREFIX: Final = b"prefix_match"
_WRITES: Final = frozenset((b"StartWriteCache", b"PutCache"))

Event = Mapping[bytes, bytes]


def read_events(url: str, instance: str, *, limit: int | None = None) -> Trace:
    """The last events of an instance, or those of its first `limit` requests. TraceError."""
    try:
        with KVCache.from_url(url, instance) as cache:
            about = _pairs(cache.execute("KVC.INSTANCE", "INFO", instance))
            if not about[b"chained"]:
                raise TraceError(f"instance {instance}: its keys are no chains")
            requests = requests_of(_events(cache, instance), int(about[b"block_tokens"]))
    except RedisError as error:
        raise TraceError(f"{url}: {error}") from error
    if not requests:
        raise TraceError(f"instance {instance}: there are no events of lookups or writes")
    requests = requests[:limit]
    check_chains(requests)
    return numbered(requests, int(about[b"block_tokens"]))


def _events(cache: KVCache, instance: str) -> Iterator[Event]:
    """All entries of the Stream, oldest first, page by page."""
    start = b"-"
    while True:
        page = cache.execute("XRANGE", f"kvc:events:{instance}", start, "+", "COUNT", _PAGE)
        for _, fields in page:
            yield _pairs(fields)
        if len(page) < _PAGE:
            return
        start = b"(" + page[-1][0]


def _pairs(reply: Any) -> dict[bytes, Any]:
    """A map, as either protocol has it."""
    if isinstance(reply, Mapping):
        return dict(reply)
    return dict(zip(reply[::2], reply[1::2], strict=True))


def requests_of(events: Iterable[Event], block_tokens: int) -> list[Request]:
    """What was asked for and written, in the order of the events."""
    names: dict[bytes, int] = {}
    requests: list[Request] = []
    looked_up: dict[int, int] = {}  # by the first block: where the last lookup of it stands
    for event in events:
        kind = event[b"type"]
        if kind == b"GetCacheLocation":
            if event[b"query_type"] != _PREFIX or event[b"touch"] == b"0":
                continue
        elif kind not in _WRITES:
            continue
        blocks = [names.setdefault(key, len(names)) for key in unpack_list(event[b"keys"])]
        if not blocks:
            continue
        if kind in _WRITES:
            _add_write(requests, blocks, looked_up)
            continue
        tokens = len(unpack_list(event[b"tokens"])) or len(blocks) * block_tokens
        looked_up[blocks[0]] = len(requests)
        requests.append(Request(tokens, blocks))
    return requests


def _add_write(requests: list[Request], blocks: list[int], looked_up: dict[int, int]) -> None:
    at = looked_up.pop(blocks[0], None)
    asked = [] if at is None else requests[at].blocks
    common = min(len(asked), len(blocks))
    if at is None or asked[:common] != blocks[:common]:
        requests.append(Request(0, blocks, len(blocks)))
    elif len(blocks) > common:
        requests[at] = Request(requests[at].tokens, blocks, len(blocks) - common)
