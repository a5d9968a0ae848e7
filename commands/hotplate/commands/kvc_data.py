"""KVC.READ and KVC.MREAD: block bytes out of the server, verified, without a copy where possible.

Bytes in shared memory are answered as views of their slots, pinned until they are sent. Bytes on
a disk are read and verified on a thread; the client's next commands wait for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from xxhash import xxh3_64_intdigest

from hotplate.commands.kvc_arguments import (
    INSTANCE_ARG,
    KEY_WORDS,
    KEYS_ARG,
    READS_INSTANCE,
    SINCE,
    argument,
    cache_of,
    check_block_key,
    parse_keys,
    spec_number,
)
from hotplate.commands.kvc_put import SPECS as PUT_SPECS
from hotplate.engine.context import Deferred
from hotplate.errors import ChecksumError, CommandError, StorageIOError
from hotplate.kvc.answers import ReadSlot
from hotplate.kvc.cache import Cache
from hotplate.kvc.model import Instance
from hotplate.resp.types import Payload, Payloads, Reply
from hotplate.spec.args import parse_int_within, syntax_error
from hotplate.spec.model import Flag, block, command, integer, oneof, specs_of, string, token
from hotplate.spec.reply import ArrayReply, BulkReply, NullReply, one_of
from hotplate.tiers.file import BlockLostError

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_PAYLOAD: Final = one_of(BulkReply(), NullReply())


class _CorruptError(Exception):
    """A copy's bytes do not have the sum they were published with."""

    def __init__(self, slot: ReadSlot) -> None:
        super().__init__()
        self.slot = slot


@dataclass(slots=True)
class _Block:
    """One block to answer: the slots that hold its bytes, in order, and the range asked for."""

    key: bytes
    slots: list[ReadSlot]
    offset: int
    size: int

    @property
    def blocking(self) -> bool:
        """Whether some of the bytes need file IO."""
        return any(slot.store.blocking for slot in self.slots)

    def cuts(self) -> list[tuple[ReadSlot, int, int]]:
        """The slots that the range touches, with offset and size inside of each."""
        found: list[tuple[ReadSlot, int, int]] = []
        start, end, at = self.offset, self.offset + self.size, 0
        for slot in self.slots:
            first, last = max(start, at), min(end, at + slot.size)
            if first < last:
                found.append((slot, first - at, last - first))
            at += slot.size
        return found


def _find(
    cache: Cache, instance: Instance, key: bytes, spec: int | None, view: tuple[int, bytes | None]
) -> list[ReadSlot]:
    """The slots that together hold what is asked of a block; empty for a miss."""
    now_ms, lease_id = view
    slot = cache.read(instance, key, spec, now_ms, lease_id)
    if slot is not None:
        return [slot]
    if spec is not None or len(instance.specs) == 1:
        return []
    found: list[ReadSlot] = []
    for number in range(len(instance.specs)):  # several copies may hold all specs together
        slot = cache.read(instance, key, number, now_ms, lease_id)
        if slot is None:
            return []
        found.append(slot)
    return found


def _verified(slot: ReadSlot, data: memoryview, offset: int, size: int) -> memoryview:
    """The asked range of a slot's bytes, once the parts that it touches have their sums."""
    for at, part_size, part_sum in slot.parts:
        start = at - slot.offset
        if start < offset + size and offset < start + part_size:
            if not part_sum and slot.store.kind == "file":
                continue  # its writer gave none
            if xxh3_64_intdigest(data[start : start + part_size]) != part_sum:
                raise _CorruptError(slot)
    return data[offset : offset + size]


def _mapped_views(wanted: _Block) -> list[memoryview]:
    views: list[memoryview] = []
    for slot, offset, size in wanted.cuts():
        whole = slot.store.view(slot.shape, slot.place)
        data = whole[slot.offset : slot.offset + slot.size]
        views.append(_verified(slot, data, offset, size))
    return views


def _read_views(wanted: _Block) -> list[memoryview]:
    """On a thread: like _mapped_views, for slots of any storage."""
    views: list[memoryview] = []
    for slot, offset, size in wanted.cuts():
        if slot.store.blocking:
            data = _read_slot(slot)
        else:
            whole = slot.store.view(slot.shape, slot.place)
            data = whole[slot.offset : slot.offset + slot.size]
        views.append(_verified(slot, data, offset, size))
    return views


def _read_slot(slot: ReadSlot) -> memoryview:
    try:
        return memoryview(slot.store.read(slot.shape, slot.place, slot.offset, slot.size))
    except BlockLostError as error:
        raise _CorruptError(slot) from error


class _Reading:
    """Blocks on their way out: pinned from here until each payload is released."""

    __slots__ = ("_abandoned", "_blocks", "_cache", "_ctx", "_instance")

    def __init__(
        self, ctx: "Context", cache: Cache, instance: Instance, blocks: Sequence[_Block | None]
    ) -> None:
        self._ctx = ctx
        self._cache = cache
        self._instance = instance
        self._blocks = blocks
        self._abandoned = False

    def start(self, shape: Callable[[list[Payload | None]], Reply]) -> Reply:
        """The reply, or a Deferred if file IO is needed. `shape` makes it of the payloads."""
        if any(wanted is not None and wanted.blocking for wanted in self._blocks):
            self._pin_all()
            return Deferred(lambda done: self._submit(shape, done), self._abandon)
        try:
            views = [item if item is None else _mapped_views(item) for item in self._blocks]
        except _CorruptError as error:
            raise self._dropped(error) from None
        self._pin_all()
        return shape(self._payloads(views))

    def _pin_all(self) -> None:
        for wanted in self._blocks:
            for slot in wanted.slots if wanted else ():
                self._cache.pin(slot)

    def _unpin_all(self) -> None:
        for wanted in self._blocks:
            self._unpin(wanted)

    def _unpin(self, wanted: _Block | None) -> None:
        for slot in wanted.slots if wanted else ():
            self._cache.unpin(slot)

    def _payloads(self, views: Sequence[list[memoryview] | None]) -> list[Payload | None]:
        return [
            None
            if wanted is None or parts is None
            else Payload(wanted.size, parts, partial(self._unpin, wanted))
            for wanted, parts in zip(self._blocks, views, strict=True)
        ]

    def _submit(
        self, shape: Callable[[list[Payload | None]], Reply], done: Callable[[Reply], None]
    ) -> None:
        def finish(result: Any) -> None:
            if isinstance(result, Exception) or self._abandoned:
                self._unpin_all()
            if self._abandoned:
                return
            if isinstance(result, _CorruptError):
                done(self._dropped(result))
            elif isinstance(result, Exception):
                done(StorageIOError(f"reading failed: {result}"))
            else:
                done(shape(self._payloads(result)))

        try:
            self._ctx.engine.file_io.submit(self._read_all, done=finish, lane=self._lane())
        except OSError as error:
            finish(error)

    def _lane(self) -> str:
        """The slowest storage that is read."""
        slots = [slot for wanted in self._blocks if wanted for slot in wanted.slots]
        return max(slots, key=lambda slot: (slot.store.blocking, slot.storage)).store.name

    def _read_all(self) -> list[list[memoryview] | None]:
        return [item if item is None else _read_views(item) for item in self._blocks]

    def _abandon(self) -> None:
        """The client is gone: what is being read is let go when the thread is done with it."""
        self._abandoned = True

    def _dropped(self, error: _CorruptError) -> ChecksumError:
        slot = error.slot
        wanted = next(item for item in self._blocks if item and slot in item.slots)
        now_ms = self._ctx.engine.clock.now_ms()
        self._cache.drop_copy(self._instance, wanted.key, slot, now_ms)
        name = slot.store.name
        return ChecksumError(f"block {wanted.key.hex()} on {name} is damaged, the copy is dropped")


def _total_size(instance: Instance, spec: int | None) -> int:
    return instance.total_bytes if spec is None else instance.specs[spec].size_bytes


def _check_reply_size(ctx: "Context", size: int) -> None:
    limit = ctx.engine.config.kvc_read_max_bytes
    if size > limit:
        raise CommandError(f"a reply of {size} bytes is over kvc-read-max-bytes {limit}")


@command(
    "KVC.READ",
    group="kvc",
    since=SINCE,
    arity=-3,
    flags=Flag.READONLY | Flag.NOSCRIPT | Flag.NO_MULTI,
    summary="Reads the bytes of a block.",
    complexity="O(N), N being the bytes of the block.",
    keys=READS_INSTANCE,
    args=(
        INSTANCE_ARG,
        string("block-key"),
        string("spec", token="SPEC", optional=True),
        block("range", integer("offset", token="RANGE"), integer("length"), optional=True),
        string("lease", token="LEASE", optional=True),
    ),
    reply=_PAYLOAD,
)
def kvc_read(ctx: "Context", argv: list[Any]) -> Reply:
    """Nil for a miss. All specs' bytes one after the other where none is named."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    key = check_block_key(bytes(argv[2]))
    spec: int | None = None
    lease_id: bytes | None = None
    cut: tuple[int, int] | None = None
    seen: set[bytes] = set()
    at, end = 3, len(argv)
    while at < end:
        word = argv[at].upper()
        if word in seen:
            raise CommandError(b"%b is given twice" % word)
        seen.add(word)
        value = argument(argv, at + 1)
        at += 2
        if word == b"SPEC":
            spec = spec_number(instance, value)
        elif word == b"LEASE":
            lease_id = bytes(value)
        elif word == b"RANGE":
            length = argument(argv, at)
            cut = (parse_int_within(value, "RANGE", 0), parse_int_within(length, "RANGE", 0))
            at += 1
        else:
            raise syntax_error()
    total = _total_size(instance, spec)
    offset, size = cut or (0, total)
    if offset + size > total:
        raise CommandError(f"RANGE {offset} {size} ends past the {total} bytes")
    _check_reply_size(ctx, size)
    slots = _find(cache, instance, key, spec, (ctx.now_ms, lease_id))
    if not slots:
        return None
    reading = _Reading(ctx, cache, instance, [_Block(key, slots, offset, size)])
    return reading.start(lambda payloads: payloads[0])


@command(
    "KVC.MREAD",
    group="kvc",
    since=SINCE,
    arity=-4,
    flags=Flag.READONLY | Flag.NOSCRIPT | Flag.NO_MULTI,
    summary="Reads the bytes of several blocks.",
    complexity="O(N), N being the bytes of the blocks.",
    keys=READS_INSTANCE,
    args=(
        INSTANCE_ARG,
        oneof("mode", token("PREFIX"), token("EXACT"), optional=True),
        string("spec", token="SPEC", optional=True),
        string("lease", token="LEASE", optional=True),
        KEYS_ARG,
    ),
    reply=ArrayReply(_PAYLOAD),
)
def kvc_mread(ctx: "Context", argv: list[Any]) -> Reply:
    """PREFIX answers up to the first miss, or until the reply is full; EXACT nil for a miss."""
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    exact, spec, lease_id, keys_at = _parse_mread(instance, argv)
    keys = parse_keys(instance, argv, keys_at, None)
    size = _total_size(instance, spec)
    room = ctx.engine.config.kvc_read_max_bytes
    blocks: list[_Block | None] = []
    for key in keys.listing():
        slots = _find(cache, instance, key, spec, (ctx.now_ms, lease_id))
        if slots:
            room -= size
            if room < 0 and not exact:
                break
            blocks.append(_Block(key, slots, 0, size))
        elif exact:
            blocks.append(None)
        else:
            break
    if exact:
        _check_reply_size(ctx, size * sum(item is not None for item in blocks))
    return _Reading(ctx, cache, instance, blocks).start(Payloads)


def _parse_mread(instance: Instance, argv: list[Any]) -> tuple[bool, int | None, bytes | None, int]:
    exact = False
    spec: int | None = None
    lease_id: bytes | None = None
    seen: set[bytes] = set()
    at, end = 2, len(argv)
    while at < end:
        word = argv[at].upper()
        if word in KEY_WORDS:
            return exact, spec, lease_id, at
        name = b"PREFIX" if word == b"EXACT" else word
        if name in seen:
            raise syntax_error()
        seen.add(name)
        at += 1
        if word == b"SPEC":
            spec = spec_number(instance, argument(argv, at))
            at += 1
        elif word == b"LEASE":
            lease_id = bytes(argument(argv, at))
            at += 1
        elif word == b"EXACT":
            exact = True
        elif word != b"PREFIX":
            raise syntax_error()
    raise syntax_error()


SPECS = (*specs_of(kvc_read, kvc_mread), *PUT_SPECS)
