"""KVC.WRITE and KVC.PUT: block bytes into the server.

A large payload is received by the connection straight into its slot (`*_sink` finds it), a small
one is copied there by the handler. On a disk the bytes are written by a thread. Either way they
are summed here, so that the client need not.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from xxhash import xxh3_64_digest

from hotplate.commands.kvc_arguments import (
    INSTANCE_ARG,
    SINCE,
    WRITES_INSTANCE,
    argument,
    cache_of,
    check_block_key,
    parse_priority,
    parse_ttl_ms,
    spec_number,
)
from hotplate.commands.kvc_events import tell_put
from hotplate.commands.kvc_slot_target import SlotTarget, slot_view
from hotplate.engine.context import Deferred
from hotplate.errors import CommandError, NoInstanceError, StorageIOError
from hotplate.kvc.answers import Slot
from hotplate.kvc.cache import Cache
from hotplate.kvc.keys import Keys
from hotplate.kvc.model import SUM_BYTES, Instance
from hotplate.kvc.write_session import WriteSession
from hotplate.limits import KEYS_PER_CALL_MAX
from hotplate.resp.types import OK, ONE, Reply
from hotplate.spec.args import parse_int_within, syntax_error
from hotplate.spec.model import Flag, block, command, integer, specs_of, string
from hotplate.spec.reply import OK_REPLY, IntegerReply

if TYPE_CHECKING:
    from hotplate.engine.context import Context

_FLAGS: Final = Flag.WRITE | Flag.NOSCRIPT | Flag.NO_MULTI
DEFAULT_PRIORITY: Final = 50


# KVC.WRITE


def _write_place(argv: Sequence[Any]) -> tuple[int, bytes | None]:
    """Where the payload of KVC.WRITE stands in argv, and the spec's name."""
    if len(argv) > 5 and type(argv[4]) is bytes and argv[4].upper() == b"SPEC":
        return 6, argv[5]
    return 4, None


def _write_slot(
    ctx: "Context", argv: Sequence[Any], spec_name: bytes | None
) -> tuple[Instance, WriteSession, int, int | None, Slot]:
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    spec = None if spec_name is None else spec_number(instance, spec_name)
    index = parse_int_within(argv[3], "index", 0, KEYS_PER_CALL_MAX)
    session = cache.session(instance, bytes(argv[2]), ctx.now_ms)
    return instance, session, index, spec, cache.slot(session, index, spec)


def write_sink(ctx: "Context", argv: list[Any], size: int) -> SlotTarget | None:
    """The reserved slot, if the bulk string that comes is the payload and fits it exactly."""
    place, spec_name = _write_place(argv)
    if len(argv) != place:
        return None
    try:
        instance, session, index, spec, slot = _write_slot(ctx, argv, spec_name)
    except CommandError:
        return None  # the handler says the same, once the bytes are read away
    if slot.store.blocking or slot.size != size:
        return None
    session.begin_transfer()
    return SlotTarget(slot, _part_sizes(instance, session, index, spec), session.end_transfer)


@command(
    "KVC.WRITE",
    group="kvc",
    since=SINCE,
    arity=-5,
    flags=_FLAGS,
    summary="Writes the bytes of a reserved block.",
    complexity="O(N), N being the bytes of the payload.",
    keys=WRITES_INSTANCE,
    args=(
        INSTANCE_ARG,
        string("session"),
        integer("index"),
        string("spec", token="SPEC", optional=True),
        string("payload"),
    ),
    reply=OK_REPLY,
    sink=write_sink,
)
def kvc_write(ctx: "Context", argv: list[Any]) -> Reply:
    """The payload is bytes, or a SlotTarget that holds them in place already."""
    targets = [item for item in argv if type(item) is SlotTarget]
    try:
        return _write(ctx, argv)
    finally:
        for target in targets:
            target.abandon()


def _write(ctx: "Context", argv: list[Any]) -> Reply:
    place, spec_name = _write_place(argv)
    if len(argv) != place + 1:
        raise syntax_error()
    instance, session, index, spec, slot = _write_slot(ctx, argv, spec_name)
    payload = argv[place]
    if len(payload) != slot.size:
        raise CommandError(f"payload of {len(payload)} bytes, block {index} takes {slot.size}")
    sizes = _part_sizes(instance, session, index, spec)
    if slot.store.blocking:
        return _write_deferred(ctx, (instance, session, index, spec), slot, (payload, sizes))
    if type(payload) is not SlotTarget:
        view = slot_view(slot)
        view[:] = payload
        sums = _sums(view, sizes)
    elif payload.slot.place != slot.place or payload.slot.offset != slot.offset:
        raise RuntimeError("a payload was received into another slot")
    else:
        sums = payload.sums
    cache_of(ctx).written(session, index, spec, sums)
    return OK


def _part_sizes(
    instance: Instance, session: WriteSession, index: int, spec: int | None
) -> list[int]:
    """The sizes of the specs that one payload is made of, in order."""
    if spec is not None:
        return [instance.specs[spec].size_bytes]
    held = session.part_of(index).specs
    return [instance.specs[number].size_bytes for number in instance.numbers_in(held)]


def _sums(data: memoryview | bytes, sizes: Sequence[int]) -> list[bytes]:
    view, start, sums = memoryview(data), 0, []
    for size in sizes:
        sums.append(xxh3_64_digest(view[start : start + size]))
        start += size
    return sums


def _write_deferred(
    ctx: "Context",
    where: tuple[Instance, WriteSession, int, int | None],
    slot: Slot,
    content: tuple[bytes, Sequence[int]],
) -> Deferred:
    """Write on a thread. The session may end meanwhile: its space waits for the transfer."""
    cache, engine = cache_of(ctx), ctx.engine
    instance, session, index, spec = where
    payload, sizes = content
    session_id = session.id
    session.begin_transfer()

    def work() -> list[bytes]:
        slot.store.write(slot.shape, slot.place, slot.offset, payload)
        return _sums(payload, sizes)

    def start(done: Callable[[Reply], None]) -> None:
        def finish(result: Any) -> None:
            session.end_transfer()
            if isinstance(result, Exception):
                done(StorageIOError(f"writing to {slot.store.name} failed: {result}"))
                return
            try:
                cache.session(instance, session_id, engine.clock.now_ms())
                cache.written(session, index, spec, result)
            except CommandError as error:
                done(error)
            else:
                done(OK)

        try:
            engine.file_io.submit(work, done=finish, lane=slot.store.name)
        except OSError as error:
            finish(error)

    return Deferred(start)


# KVC.PUT


class _PutOptions:
    """What stands before the keys and payloads of KVC.PUT."""

    __slots__ = ("count", "first", "parent", "priority", "ttl_ms")

    def __init__(self) -> None:
        self.ttl_ms: int | None = None
        self.priority = DEFAULT_PRIORITY
        self.parent: bytes | None = None
        self.count = 0
        self.first = 0  # where the first key stands in argv


def _put_options(argv: Sequence[Any]) -> _PutOptions:
    options = _PutOptions()
    seen: set[bytes] = set()
    at = 2
    while True:
        word = bytes(argument(argv, at)).upper()
        if word not in (b"TTL", b"PRIORITY", b"PARENT"):
            break
        if word in seen:
            raise CommandError(b"%b is given twice" % word)
        seen.add(word)
        value = bytes(argument(argv, at + 1))
        if word == b"TTL":
            options.ttl_ms = parse_ttl_ms(value)
        elif word == b"PRIORITY":
            options.priority = parse_priority(value)
        else:
            options.parent = check_block_key(value, "PARENT")
        at += 2
    options.count = parse_int_within(argv[at], "number of keys", 1, KEYS_PER_CALL_MAX)
    options.first = at + 1
    return options


def put_sink(ctx: "Context", argv: list[Any], size: int) -> SlotTarget | None:
    """A new slot, if the bulk string that comes is a payload of the right size."""
    try:
        options = _put_options(argv)
        index, is_payload = divmod(len(argv) - options.first, 2)
        if not is_payload or index >= options.count:
            return None
        cache = cache_of(ctx)
        instance = cache.catalog.get_instance(argv[1])
        if size != instance.total_bytes:
            return None
        key = check_block_key(argv[-1])
        if not cache.lacking(instance, Keys.listed([key]), ctx.now_ms):
            return None  # the bytes are not needed
        slot = cache.stage(instance, len(key), ctx.now_ms)
    except CommandError:
        return None  # the handler says the same, once the bytes are read away
    if slot.store.blocking:
        cache.unstage(instance, slot)
        return None
    sizes = [spec.size_bytes for spec in instance.specs]
    target = SlotTarget(slot, sizes, lambda: cache.unstage(instance, slot))
    if options.count == 1:
        target.purpose = instance, key, options
    return target


@command(
    "KVC.PUT",
    group="kvc",
    since=SINCE,
    arity=-5,
    flags=_FLAGS,
    summary="Stores blocks with their bytes: reserves, writes and publishes in one step.",
    complexity="O(N), N being the bytes of the payloads.",
    keys=WRITES_INSTANCE,
    args=(
        INSTANCE_ARG,
        integer("ttl-seconds", token="TTL", optional=True),
        integer("priority", token="PRIORITY", optional=True),
        string("parent", token="PARENT", optional=True),
        integer("numkeys"),
        block("data", string("block-key"), string("payload"), multiple=True),
    ),
    reply=IntegerReply(0),
    sink=put_sink,
)
def kvc_put(ctx: "Context", argv: list[Any]) -> Reply:
    """Answers how many blocks are newly stored; those that are there already stay as they are."""
    targets = [item for item in argv if type(item) is SlotTarget]
    try:
        if targets and targets[-1].purpose is not None and _put_alone(ctx, argv, targets[-1]):
            return ONE
        put = _parse_put(ctx, argv)
        put.stage_rest(ctx.now_ms)
        return put.store()
    finally:
        for target in targets:  # those that were published are kept, the rest is given back
            target.abandon()


def _put_alone(ctx: "Context", argv: list[Any], target: SlotTarget) -> bool:
    """Publish the one block of a call whose sink has parsed it; False: go the general way."""
    instance: Instance
    instance, key, options = target.purpose
    cache = cache_of(ctx)
    named = cache.catalog.instances.get(argv[1])
    if named is not instance or len(argv) != options.first + 2:
        return False
    stored = cache.put_alone(
        instance,
        key,
        target.slot,
        b"".join(target.sums),
        now_ms=ctx.now_ms,
        ttl_ms=options.ttl_ms,
        priority=options.priority,
        parent=options.parent,
    )
    if stored:
        target.keep()
        if ctx.engine.kvc_events.on:
            tell_put(ctx, instance, Keys.listed([key]), 1)
    return stored


def _parse_put(ctx: "Context", argv: list[Any]) -> "_Put":
    cache = cache_of(ctx)
    instance = cache.catalog.get_instance(argv[1])
    options = _put_options(argv)
    rest = argv[options.first :]
    if len(rest) != 2 * options.count:
        raise CommandError(f"{options.count} keys, but {len(rest)} keys and payloads follow")
    keys = [check_block_key(bytes(key)) for key in rest[::2]]
    for index, payload in enumerate(rest[1::2]):
        if len(payload) != instance.total_bytes:
            raise CommandError(
                f"payload {index} has {len(payload)} bytes, a block {instance.total_bytes}"
            )
    return _Put(ctx, instance, options, (Keys.listed(keys), rest[1::2]))


class _Put:
    """One KVC.PUT: every key gets a slot, then all are published or none."""

    __slots__ = ("_cache", "_ctx", "_instance", "_keys", "_options", "_own", "_payloads", "_slots")

    def __init__(
        self,
        ctx: "Context",
        instance: Instance,
        options: _PutOptions,
        data: tuple[Keys, list[Any]],
    ) -> None:
        self._ctx = ctx
        self._cache: Cache = cache_of(ctx)
        self._instance = instance
        self._options = options
        self._keys, self._payloads = data
        self._slots: list[Slot | None] = [
            item.slot if type(item) is SlotTarget else None for item in self._payloads
        ]
        self._own: list[Slot] = []  # staged here, not by a sink

    def stage_rest(self, now_ms: int) -> bool:
        """A slot for each block that is not stored and has none yet; all or none.

        Making room may drop blocks that were stored a moment ago, hence until all is settled.
        Whether there was something to stage.
        """
        staged = 0
        try:
            while None in self._slots:
                lacking = self._cache.lacking(self._instance, self._keys, now_ms)
                missing = [position for position in lacking if self._slots[position] is None]
                if not missing:
                    break
                for position in missing:
                    slot = self._cache.stage(self._instance, len(self._keys[position]), now_ms)
                    self._own.append(slot)
                    self._slots[position] = slot
                staged += len(missing)
            return staged > 0
        except CommandError as error:
            self._unstage_own()
            self._cache.note_refused(self._instance, self._keys, error, now_ms)
            raise

    def store(self) -> Reply:
        """Bring the bytes to their slots and publish; a Deferred where that needs file IO."""
        if any(slot.store.blocking for slot in self._own):
            for payload in self._payloads:
                if type(payload) is SlotTarget:  # the Deferred ends it, not the handler
                    payload.keep()
                    self._own.append(payload.slot)
            return Deferred(self._start)
        return self._publish(self._fill(), self._ctx.now_ms)

    def _fill(self) -> bytes:
        """Copy payloads into their slots; the sums of all specs of all blocks."""
        sizes = [spec.size_bytes for spec in self._instance.specs]
        sums: list[bytes] = []
        for slot, payload in zip(self._slots, self._payloads, strict=True):
            if slot is None:
                sums.append(bytes(SUM_BYTES * len(sizes)))
                continue
            if type(payload) is SlotTarget:
                sums += payload.sums
                continue
            data = memoryview(payload)
            if slot.store.blocking:
                slot.store.write(slot.shape, slot.place, slot.offset, data)
            else:
                slot_view(slot)[:] = data
            sums += _sums(data, sizes)
        return b"".join(sums)

    def _publish(self, sums: bytes, now_ms: int) -> int:
        options = self._options
        try:
            stored = self._cache.put(
                self._instance,
                self._keys,
                self._slots,
                sums,
                now_ms=now_ms,
                ttl_ms=options.ttl_ms,
                priority=options.priority,
                parent=options.parent,
            )
        except CommandError as error:
            self._unstage_own()
            self._cache.note_refused(self._instance, self._keys, error, now_ms)
            raise
        for payload in self._payloads:
            if type(payload) is SlotTarget:
                payload.keep()
        if self._ctx.engine.kvc_events.on:
            tell_put(self._ctx, self._instance, self._keys, stored)
        return stored

    def _start(self, done: Callable[[Reply], None]) -> None:
        clock, name = self._ctx.engine.clock, self._instance.id

        def finish(result: Any) -> None:
            if isinstance(result, Exception):
                self._unstage_own()
                done(StorageIOError(f"writing failed: {result}"))
                return
            try:
                if self._cache.catalog.instances.get(name) is not self._instance:
                    self._unstage_own()
                    self._cache.catalog.get_instance(name)
                    raise NoInstanceError(b"instance '%b' was registered anew" % name)
                now_ms = clock.now_ms()
                if self.stage_rest(now_ms):  # a stored block was dropped meanwhile
                    self._start(done)
                    return
                stored = self._publish(result, now_ms)
            except CommandError as error:
                done(error)
            else:
                done(stored)

        try:
            lane = next(slot.store.name for slot in self._own if slot.store.blocking)
            self._ctx.engine.file_io.submit(self._fill, done=finish, lane=lane)
        except OSError as error:
            finish(error)

    def _unstage_own(self) -> None:
        for slot in self._own:
            self._cache.unstage(self._instance, slot)
        self._own.clear()


SPECS = specs_of(kvc_write, kvc_put)
