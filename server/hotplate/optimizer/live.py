"""One trace played against a running server, over one connection.

The server gets a group and an instance of its own (MAXBLOCKS is the capacity, nothing else limits
it, no block ends by time), so that it must find block for block what the replay in this process
finds. Block bytes are one byte each and are never sent: FINISH gives the sums.
"""

import time
from os import urandom
from typing import Any, Final

from redis.exceptions import RedisError

from hotplate.clients import KVCache, QuotaError
from hotplate.optimizer.simulate import Outcome
from hotplate.optimizer.trace import Trace

KEY_BYTES: Final = 8
_SUM: Final = b"\0\0\0\0\0\0\0\1"
_TRIES: Final = 64  # of a write: a call makes room for 1024 blocks, a chain has at most 65,536


class LiveReplayError(Exception):
    """The server does not play along; the text says how."""


def play(trace: Trace, policy: str, capacity: int, url: str) -> Outcome:
    """Replay a trace against the server at `url`. LiveReplayError."""
    name = f"replay-{urandom(6).hex()}"
    try:
        with KVCache.from_url(url, name) as cache:
            _create(cache, name, policy, capacity)
            try:
                return _play(trace, capacity, cache, name)
            finally:
                cache.execute("KVC.GROUP", "REMOVE", name, "FORCE")
    except RedisError as error:
        raise LiveReplayError(f"{url}: {error}") from error


def _create(cache: KVCache, name: str, policy: str, capacity: int) -> None:
    options = ("STORAGES", 1, "memory", "MAXBLOCKS", capacity, "POLICY", policy)
    limits = ("WATERMARKS", "1.0", "1.0", "GRACE", 0)
    cache.execute("KVC.GROUP", "CREATE", name, *options, *limits)
    cache.execute(
        *("KVC.INSTANCE", "REGISTER", name, "GROUP", name, "BLOCKTOKENS", 1, "SPEC", "all", 1)
    )


def _play(trace: Trace, capacity: int, cache: KVCache, name: str) -> Outcome:
    found: list[int] = []
    begin = time.perf_counter()
    for number, request in enumerate(trace.requests, 1):
        keys = b"".join([block.to_bytes(KEY_BYTES, "big") for block in request.blocks])
        packed = ("PACKED", KEY_BYTES, keys)
        matched: int = cache.execute("KVC.GETLOC", name, "COUNT", *packed)
        found.append(matched)
        stored = min(len(request.blocks), capacity)
        if matched < stored:
            session, mask = _start(cache, name, keys[: stored * KEY_BYTES])
            if session is None or mask.count(b"0") != stored - matched:
                raise LiveReplayError(
                    f"request {number}: {matched} blocks found, but {mask.count(b'1')} of {stored}"
                    " need no writing: is another client at this instance?"
                )
            sums = _SUM * (stored - matched)
            cache.execute("KVC.FINISH", name, session, "ALL", "CHECKSUMS", sums)
    return Outcome(found, time.perf_counter() - begin)


def _start(cache: KVCache, name: str, keys: bytes) -> tuple[bytes | None, bytes]:
    """Reserve what is missing: the session and the mask. Each try makes room for some more."""
    refused: QuotaError | None = None
    for _ in range(_TRIES):
        try:
            answer: Any = cache.execute(
                *("KVC.STARTWRITE", name, "FORMAT", "msgpack", "PACKED", KEY_BYTES, keys)
            )
        except QuotaError as error:
            refused = error
            continue
        return answer[0], answer[1]
    raise LiveReplayError(f"no room: {refused}")
