# Generated from _async/kvc.py by tests/tools/unasync.py: change that file and run it.
"""The KV cache of one instance: find a prefix, read its blocks, reserve, write and publish.

Owns the calls a connector makes and which way payloads take: through segment files where the server
is on this host and allows it, else over a payload connection. Administrative and lookup commands
go through the redis-py client the caller brings. Knows nothing of tensors.

    with KVCache.from_url("redis://127.0.0.1:6379", "llama-8b") as cache:
        cache.register(block_tokens=16, specs={"all": 131072}, hash_scheme="xxh3")
        keys = cache.keys(token_ids)
        with cache.match(keys, lease_ms=5000) as match:
            payloads = match.read()
        with cache.reserve(keys) as reservation:
            for index in reservation.new:
                reservation.write(index, payload_of(index))
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import redis
from redis.exceptions import ResponseError

from hotplate.clients._sync.blocks import Match, Reservation
from hotplate.clients._sync.payloads import Payloads
from hotplate.clients.address import Address
from hotplate.clients.errors import TransportError, error_of_text
from hotplate.clients.keys import Keys, Tokens
from hotplate.clients.records import (
    InstanceInfo,
    Registration,
    Transport,
    instance_of,
    mapping_of,
)
from hotplate.clients.segments import LocalSegments
from hotplate.wire.schema import Locations, decode_locations

KeyList = Keys | Sequence[bytes]


class KVCache:
    """One instance of the server's KV cache. Threads may share it."""

    def __init__(
        self,
        client: redis.Redis,
        instance: str | bytes,
        *,
        transport: Transport = "auto",
        verify_sums: bool | None = None,
    ) -> None:
        """`client` stays the caller's. `transport`: `auto` takes segment files where it can,
        `mapped` raises TransportError where it cannot, `socket` never does. `verify_sums`: check
        sums of bytes read from files; None where nothing else proves them right."""
        pool = client.connection_pool
        if pool.connection_kwargs.get("decode_responses"):
            raise ValueError("block keys are bytes: the client must not have decode_responses")
        if transport not in ("auto", "mapped", "socket"):
            raise ValueError(f"transport is auto, mapped or socket, not {transport!r}")
        self.id = instance.encode() if isinstance(instance, str) else instance
        self.transport = transport
        self.payloads = Payloads(Address.of_pool(pool), self.id)
        self._client = client
        self._owns_client = False
        self._verify_sums = verify_sums
        self._info: InstanceInfo | None = None
        self._segments: LocalSegments | None = None

    @classmethod
    def from_url(
        cls,
        url: str,
        instance: str | bytes,
        *,
        transport: Transport = "auto",
        verify_sums: bool | None = None,
    ) -> "KVCache":
        """A cache with a redis-py client of its own, closed with it."""
        client = redis.Redis.from_url(url)
        cache = cls(client, instance, transport=transport, verify_sums=verify_sums)
        cache._owns_client = True
        return cache

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and files, and the client if `from_url` made it."""
        self.payloads.close()
        if self._segments is not None:
            self._segments.close()
        if self._owns_client:
            self._client.close()

    # the instance

    def register(self, **content: Any) -> InstanceInfo:
        """Register the instance; `content` are the fields of `Registration`.

        May be repeated with the same content; DuplicateError with other content.
        """
        registration = Registration(**content)
        reply = mapping_of(self._call(*registration.arguments(self.id)))
        return self._know(registration.registered(self.id, reply["storages"]))

    def info(self) -> InstanceInfo:
        """The registered instance; asked of the server once. NoInstanceError if there is none."""
        if self._info is not None:
            return self._info
        return self._know(instance_of(self._call("KVC.INSTANCE", "INFO", self.id)))

    def keys(self, tokens: Tokens) -> Keys:
        """The chained keys of the full blocks in `tokens`, by the instance's hash scheme."""
        return (self.info()).keys(tokens)

    # lookups

    def count(self, keys: KeyList) -> int:
        """How many leading keys are stored: the cheapest question there is."""
        found = self._call("KVC.GETLOC", self.id, "COUNT", *Keys.of(keys).arguments)
        return int(found)

    def match(
        self,
        keys: KeyList,
        *,
        lease_ms: int | None = None,
        skip: int = 0,
        exact: bool = False,
        window: int | None = None,
        touch: bool = True,
    ) -> Match:
        """Find stored blocks: the longest prefix, all that are there (`exact`), or the right-most
        run of `window` keys. `skip` leading keys are taken as known and left out of a prefix.

        With `lease_ms` the copies stay where they are for so long, or until the match is released;
        where the group has too much leased already, `match.lease` is None and nothing is held.
        """
        wanted = Keys.of(keys)
        command: list[Any] = ["KVC.GETLOC", self.id]
        if exact:
            command.append("EXACT")
        elif window is not None:
            command += ["WINDOW", window]
        if skip:
            command += ["SKIP", skip]
        if lease_ms is not None:
            command += ["LEASE", lease_ms]
        if not touch:
            command.append("NOTOUCH")
        command += ["FORMAT", "msgpack", *wanted.arguments]
        matched, start, packed, lease = self._call(*command)
        offset = 0 if exact else max(start, 0)
        indexes = range(offset, len(wanted)) if window is None else range(offset, offset + matched)
        return Match(
            self,
            keys=wanted,
            matched=matched,
            start=start,
            lease=lease,
            locations=_decoded(packed),
            indexes=indexes,
        )

    # writes

    def reserve(
        self,
        keys: KeyList,
        *,
        timeout_s: int | None = None,
        storage: str | None = None,
        ttl_s: int | None = None,
        priority: int | None = None,
        parent: bytes | None = None,
        spec_groups: Sequence[str] | None = None,
    ) -> Reservation:
        """Reserve room for those of `keys` that nobody has stored or is writing.

        QuotaError and NoSpaceError say what would be needed; its `retry_ms` when to come back.
        """
        wanted = Keys.of(keys)
        command: list[Any] = ["KVC.STARTWRITE", self.id]
        options = {"TIMEOUT": timeout_s, "STORAGE": storage, "TTL": ttl_s, "PRIORITY": priority}
        for word, value in (options | {"PARENT": parent}).items():
            if value is not None:
                command += [word, value]
        if spec_groups is not None:
            command += ["SPECGROUPS", len(spec_groups), *spec_groups]
        command += ["FORMAT", "msgpack", *wanted.arguments]
        session, mask, packed = self._call(*command)
        return Reservation(
            self,
            keys=wanted,
            session=session,
            new=[index for index, bit in enumerate(bytes(mask)) if bit == ord("0")],
            locations=_decoded(packed),
        )

    def put(
        self,
        blocks: Mapping[bytes, Any],
        *,
        ttl_s: int | None = None,
        priority: int | None = None,
        parent: bytes | None = None,
    ) -> int:
        """Store small chains in one step: keys in chain order with their payloads (bytes-like, all
        specs). How many were new."""
        command: list[bytes | memoryview] = [b"KVC.PUT", self.id]
        for word, value in ((b"TTL", ttl_s), (b"PRIORITY", priority)):
            if value is not None:
                command += [word, b"%d" % value]
        if parent is not None:
            command += [b"PARENT", parent]
        command.append(b"%d" % len(blocks))
        for key, payload in blocks.items():
            command += [key, memoryview(payload).cast("B")]
        stored = self.payloads.request(command)
        if not isinstance(stored, int):
            raise ConnectionError(f"the server answered {stored!r} for a number")
        return stored

    def remove(self, keys: KeyList) -> int:
        """Hide these blocks at once; how many there were."""
        return int(self._call("KVC.REMOVE", self.id, *Keys.of(keys).arguments))

    # payloads without a match

    def read(self, key: bytes, spec: str | None = None) -> bytearray | None:
        """One block's payload, or one spec's of it; None where it is not stored."""
        command = [b"KVC.READ", self.id, key, *_spec_option(spec)]
        payload = self.payloads.request(command)
        if not isinstance(payload, bytearray | None):
            raise ConnectionError(f"the server answered {payload!r} for a payload")
        return payload

    def read_many(
        self, keys: KeyList, *, exact: bool = False, spec: str | None = None
    ) -> list[bytearray | None]:
        """The payloads of the longest stored prefix, or with `exact` of every key, None for a miss.

        One answer is bounded by the server (`kvc-read-max-bytes`): a prefix then is cut short.
        """
        mode = b"EXACT" if exact else b"PREFIX"
        return self.payloads.read_many(Keys.of(keys), [mode, *_spec_option(spec)])

    def stats(self) -> dict[str, Any]:
        """The instance's figures."""
        return mapping_of(self._call("KVC.STATS", "INSTANCE", self.id))

    def explain(self, keys: KeyList) -> list[dict[str, Any]]:
        """Why each block is stored or not: `state`, `reason`, `why` and more, as KVC.EXPLAIN."""
        command = ["KVC.EXPLAIN", self.id, *Keys.of(keys).arguments]
        return [mapping_of(item) for item in self._call(*command)]

    # for matches and reservations

    def execute(self, *command: Any) -> Any:
        """Send a command of this client and raise KVCacheError for what the server refuses."""
        return self._call(*command)

    def segments(self) -> LocalSegments | None:
        """The segment files of this host; None where payloads shall go over the socket."""
        if self.transport == "socket":
            return None
        self.info()
        return self._segments

    def unreachable(self, error: Exception) -> None:
        """A file could not be used: TransportError if that is what was asked for."""
        if self.transport == "mapped":
            raise TransportError(str(error)) from error

    def _know(self, info: InstanceInfo) -> InstanceInfo:
        self._info = info
        self._segments = LocalSegments(info.storages, self._verify_sums)
        return info

    def _call(self, *command: Any) -> Any:
        try:
            return self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if type(error) is not ResponseError:
                raise  # redis-py has a class of its own for it
            raise error_of_text(str(error)) from None


def _spec_option(spec: str | None) -> list[bytes]:
    return [] if spec is None else [b"SPEC", spec.encode()]


def _decoded(packed: bytes | list[Any]) -> Locations:
    """An answer's locations; for nothing found or nothing to write it may be an empty array."""
    return decode_locations(packed) if isinstance(packed, bytes) else Locations([], [])
