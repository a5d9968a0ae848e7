"""HyperLogLog: PFADD, PFCOUNT, PFMERGE, and what Redis offers to look inside."""

import random
from typing import Final

from hotplate.commands.bit_runs import pfadd_run
from hotplate.commands.bitmaps import bits_of
from hotplate.commands.values import read_entry
from hotplate.engine.context import Context
from hotplate.errors import CommandError, WrongTypeError
from hotplate.keyspace.entry import Entry
from hotplate.keyspace.hyperloglog import (
    REGISTERS,
    Sketch,
    add,
    cache_count,
    cached_count,
    describe_runs,
    estimate,
    forget_count,
    is_sketch,
    is_sparse,
    make_dense,
    merge_registers,
    new_sketch,
    raise_registers,
    registers_of,
    set_register,
)
from hotplate.keyspace.string import growable
from hotplate.resp.types import OK, ONE, ZERO, Reply, Simple
from hotplate.spec.model import Flag, Keys, command, key, specs_of, string
from hotplate.spec.reply import (
    OK_REPLY,
    ArrayReply,
    BulkReply,
    IntegerReply,
    SimpleReply,
    one_of,
)

_NO_REGISTERS: Final = bytes(REGISTERS)
_SELFTEST_ELEMENTS: Final = 20_000
_SELFTEST_ERROR_MAX: Final = 0.04  # five standard errors of 0.81 %


def _sketch_of(entry: Entry) -> Sketch:
    data = bits_of(entry.value)
    if not is_sketch(data):
        raise WrongTypeError("Key is not a valid HyperLogLog string value.")
    return data


def _changeable(ctx: Context, entry: Entry) -> bytearray:
    """The entry's own HyperLogLog, to be changed in place; the caller tells."""
    data = growable(_sketch_of(entry))
    entry.value = data
    if not ctx.no_touch:
        entry.accessed_ms = ctx.now_ms
    return data


@command(
    "PFADD",
    group="hyperloglog",
    since="2.8.9",
    arity=-2,
    summary="Adds the specified elements to the specified HyperLogLog.",
    complexity="O(1) to add every element.",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=(Keys(flags=("RW", "INSERT")),),
    args=(key(), string("element", optional=True, multiple=True)),
    reply=IntegerReply(0, 1),
    acl_categories=("hyperloglog",),
    run=pfadd_run,
)
def pfadd(ctx: Context, argv: list[bytes]) -> Reply:
    """PFADD key [element ...]: 1 where the estimate may have changed"""
    key = argv[1]
    db = ctx.db
    entry = db.lookup_write(key, ctx.now_ms)
    sparse_bytes_max = ctx.engine.config.hll_sparse_max_bytes
    if entry is None:
        data = new_sketch()
        add(data, argv[2:], sparse_bytes_max)
        forget_count(data)  # as Redis leaves it, even where nothing was added
        db.assign(key, data, ctx.now_ms)
    elif not add(_changeable(ctx, entry), argv[2:], sparse_bytes_max):
        return ZERO
    db.changed(key, "pfadd")
    return ONE


@command(
    "PFCOUNT",
    group="hyperloglog",
    since="2.8.9",
    arity=-2,
    summary="Return the approximated cardinality of the set(s)"
    " observed by the HyperLogLog at key(s).",
    complexity="O(1) with a very small average constant time when called with a single key."
    " O(N) with N being the number of keys, and much bigger constant times, when called with"
    " multiple keys.",
    flags=Flag.READONLY | Flag.MAY_REPLICATE,
    keys=(
        Keys(
            last=-1,
            flags=("RW", "ACCESS"),
            notes="RW because it may change the internal representation of the key, and propagate"
            " to replicas",
        ),
    ),
    args=(key(multiple=True),),
    reply=IntegerReply(minimum=0),
    acl_categories=("hyperloglog",),
)
def pfcount(ctx: Context, argv: list[bytes]) -> Reply:
    """PFCOUNT key [key ...]"""
    if len(argv) > 2:
        return estimate(_union(ctx, argv[1:]))
    entry = read_entry(ctx, argv[1])
    if entry is None:
        return 0
    data = _sketch_of(entry)
    count = cached_count(data)
    if count is None:
        count = estimate(registers_of(data))
        # the value stays the same, so that nobody is told
        data = growable(data)
        cache_count(data, count)
        entry.value = data
    return count


def _union(ctx: Context, keys: list[bytes]) -> bytes:
    """The registers of all keys together."""
    registers = _NO_REGISTERS
    for name in keys:
        entry = read_entry(ctx, name)
        if entry is not None:
            registers = merge_registers(registers, registers_of(_sketch_of(entry)))
    return registers


@command(
    "PFMERGE",
    group="hyperloglog",
    since="2.8.9",
    arity=-2,
    summary="Merge N different HyperLogLogs into a single one.",
    complexity="O(N) to merge N HyperLogLogs, but with high constant times.",
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("RW", "ACCESS", "INSERT")), Keys(begin=2, last=-1)),
    args=(key("destkey"), key("sourcekey", index=1, optional=True, multiple=True)),
    reply=OK_REPLY,
    acl_categories=("hyperloglog",),
)
def pfmerge(ctx: Context, argv: list[bytes]) -> Reply:
    """PFMERGE destkey [sourcekey ...]"""
    db = ctx.db
    registers = _union(ctx, argv[1:])
    found = (db.lookup_write(name, ctx.now_ms) for name in argv[1:])
    has_dense = any(not is_sparse(_sketch_of(entry)) for entry in found if entry is not None)
    entry = db.lookup_write(argv[1], ctx.now_ms)
    if entry is None:
        data = new_sketch()
        db.assign(argv[1], data, ctx.now_ms)
    else:
        data = _changeable(ctx, entry)
    if has_dense:
        make_dense(data)
    raise_registers(data, registers, ctx.engine.config.hll_sparse_max_bytes)
    db.changed(argv[1], "pfadd")
    return OK


@command(
    "PFDEBUG",
    group="hyperloglog",
    since="2.8.9",
    arity=3,
    is_internal=True,
    summary="Internal commands for debugging HyperLogLog values",
    complexity="N/A",
    flags=Flag.WRITE | Flag.DENYOOM | Flag.ADMIN,
    keys=(Keys(begin=2, flags=("RW", "ACCESS")),),
    args=(string("subcommand"), key()),
    reply=one_of(
        ArrayReply(IntegerReply(0, 63)), BulkReply(), IntegerReply(0, 1), SimpleReply(None)
    ),
    acl_categories=("hyperloglog",),
)
def pfdebug(ctx: Context, argv: list[bytes]) -> Reply:
    """PFDEBUG GETREG | DECODE | ENCODING | TODENSE key"""
    entry = ctx.db.lookup_write(argv[2], ctx.now_ms)
    if entry is None:
        raise CommandError("The specified key does not exist")
    data = _sketch_of(entry)
    word = argv[1].upper()
    if word == b"ENCODING":
        return Simple(b"sparse" if is_sparse(data) else b"dense")
    if word == b"DECODE":
        if not is_sparse(data):
            raise CommandError("HLL encoding is not sparse")
        return describe_runs(data)
    if word not in (b"GETREG", b"TODENSE"):
        raise CommandError(b"Unknown PFDEBUG subcommand '%b'" % argv[1])
    data = _changeable(ctx, entry)
    was_sparse = make_dense(data)
    if was_sparse:
        ctx.db.changed(argv[2], "pfadd")
    return list(registers_of(data)) if word == b"GETREG" else int(was_sparse)


@command(
    "PFSELFTEST",
    group="hyperloglog",
    since="2.8.9",
    arity=1,
    is_internal=True,
    summary="An internal command for testing HyperLogLog values",
    complexity="N/A",
    flags=Flag.ADMIN,
    reply=OK_REPLY,
    acl_categories=("hyperloglog",),
)
def pfselftest(ctx: Context, argv: list[bytes]) -> Reply:
    """PFSELFTEST: registers keep what is put in, both forms agree, the estimate is near"""
    chance = random.Random(0)
    wanted = bytes(chance.randrange(64) for _ in range(REGISTERS))
    dense = new_sketch()
    make_dense(dense)
    for index, count in enumerate(wanted):
        set_register(dense, index, count, 0)
    if registers_of(dense) != wanted:
        raise CommandError("TESTFAILED Register of dense HLL doesn't match")
    sparse, dense = new_sketch(), new_sketch()
    make_dense(dense)
    checkpoint = 1
    for number in range(1, _SELFTEST_ELEMENTS + 1):
        element = b"%d" % chance.getrandbits(64)
        add(sparse, (element,), ctx.engine.config.hll_sparse_max_bytes)
        add(dense, (element,), 0)
        if number == checkpoint:
            if registers_of(sparse) != registers_of(dense):
                raise CommandError("TESTFAILED sparse and dense HLL differ")
            if abs(estimate(registers_of(dense)) - number) > max(1, number * _SELFTEST_ERROR_MAX):
                raise CommandError("TESTFAILED Too big error")
            checkpoint *= 10
    return OK


SPECS = specs_of(pfadd, pfcount, pfmerge, pfdebug, pfselftest)
