"""Prefix lookups and reservations beside what a plain Redis offers for them.

Both sides hold the same number of keys: ours as blocks in chains, theirs as strings whose value is
a location of 64 bytes. Theirs finds a prefix with MGET (and reads the values up to the first nil)
or with a pipeline of EXISTS; ours with GETLOC. Ours reserves and publishes with STARTWRITE and
FINISH; theirs writes the same number of locations with a pipeline of SET.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from hotplate.bench.link import Link, ReplyError, frame
from hotplate.bench.measure import alternate, compare_times, repeat
from hotplate.bench.report import Suite

KEY_BYTES: Final = 16
LOCATION_BYTES: Final = 64
BLOCK_BYTES: Final = 64  # the index is what is measured, not the payloads
SUM_BYTES: Final = 8
CHAIN_BLOCKS: Final = 8192
LOOKUP_BLOCKS: Final = (16, 256, 2048, 8192)
WRITE_BLOCKS: Final = 256
WRITE_CALLS: Final = 100  # a measurement; their requests are prepared, so it can't be endless
FILL_BLOCKS: Final = 4096  # a call: far below what a call may hold, and quick
SEED: Final = 20_200
INSTANCE: Final = "bench-kvc"

COUNT_TARGETS: Final = {2048: 8.0, 8192: 20.0}
LOCATIONS_TARGETS: Final = {2048: 2.0}
WRITE_TARGET: Final = 1.5


@dataclass(frozen=True, slots=True)
class Chain:
    """A prompt's keys, packed."""

    blob: bytes

    def packed(self, count: int) -> bytes:
        """The first `count` keys as one string."""
        return self.blob[: count * KEY_BYTES]

    def keys(self, first: int, last: int) -> list[bytes]:
        """Keys `first` to `last` (exclusive) one by one."""
        return [
            self.blob[index * KEY_BYTES : (index + 1) * KEY_BYTES] for index in range(first, last)
        ]


def chains(blocks: int, seed: int = SEED) -> list[Chain]:
    """Chains of random keys, CHAIN_BLOCKS each, `blocks` in all (at least one chain)."""
    source = random.Random(seed)
    count = max(1, blocks // CHAIN_BLOCKS)
    return [Chain(source.randbytes(CHAIN_BLOCKS * KEY_BYTES)) for _ in range(count)]


def fill_ours(link: Link, prompts: list[Chain]) -> None:
    """Register the instance and publish every block of every chain."""
    link.command(
        *("KVC.INSTANCE", "REGISTER", INSTANCE, "GROUP", "default"),
        *("BLOCKTOKENS", 16, "SPEC", "kv", BLOCK_BYTES),
    )
    for prompt in prompts:
        for first in range(0, CHAIN_BLOCKS, FILL_BLOCKS):
            blob = prompt.blob[first * KEY_BYTES : (first + FILL_BLOCKS) * KEY_BYTES]
            parent: list[bytes | str] = []
            if first:
                parent = ["PARENT", prompt.blob[(first - 1) * KEY_BYTES : first * KEY_BYTES]]
            publish(link, blob, parent)


def publish(link: Link, blob: bytes, parent: list[bytes | str]) -> None:
    """Reserve and publish the packed keys; all of them must be new."""
    count = len(blob) // KEY_BYTES
    session, _, _ = link.command(
        *("KVC.STARTWRITE", INSTANCE, *parent, "FORMAT", "msgpack", "PACKED", KEY_BYTES, blob)
    )
    expect(link.command("KVC.FINISH", INSTANCE, session, "CHECKSUMS", sums(count)), [count, 0])


def fill_theirs(link: Link, prompts: list[Chain]) -> None:
    """Give every key a value of LOCATION_BYTES."""
    value = b"l" * LOCATION_BYTES
    for prompt in prompts:
        for first in range(0, CHAIN_BLOCKS, FILL_BLOCKS):
            keys = prompt.keys(first, first + FILL_BLOCKS)
            link.command("MSET", *(part for key in keys for part in (key, value)))


def sums(count: int) -> bytes:
    """Check sums for blocks whose bytes nobody reads: any value that is not zero."""
    return b"\1" * (SUM_BYTES * count)


def expect(reply: object, expected: object) -> None:
    """ReplyError where a reply is not what the measurement is about."""
    if reply != expected:
        raise ReplyError(f"expected {expected!r:.200}, got {reply!r:.200}")


def cycle_of(calls: list[Callable[[], object]]) -> Callable[[], object]:
    """A call that makes the next of `calls` each time, so that no prompt stays in the caches."""
    turn = itertools.cycle(calls)
    return lambda: next(turn)()


def lookup(link: Link, requests: list[bytes]) -> Callable[[], object]:
    """One request a call, in turn."""
    return cycle_of([partial(link.call, request) for request in requests])


def count_requests(prompts: list[Chain], count: int) -> list[bytes]:
    """How long is the stored prefix?"""
    return [
        frame("KVC.GETLOC", INSTANCE, "COUNT", "PACKED", KEY_BYTES, prompt.packed(count))
        for prompt in prompts
    ]


def location_requests(prompts: list[Chain], count: int) -> list[bytes]:
    """Where are the blocks of the stored prefix?"""
    return [
        frame(
            *("KVC.GETLOC", INSTANCE, "FORMAT", "msgpack"),
            *("PACKED", KEY_BYTES, prompt.packed(count)),
        )
        for prompt in prompts
    ]


def mget_requests(prompts: list[Chain], count: int) -> list[bytes]:
    """The same question to the other side: the value of every key."""
    return [frame("MGET", *prompt.keys(0, count)) for prompt in prompts]


def exists_calls(link: Link, prompts: list[Chain], count: int) -> Callable[[], object]:
    """The same question as a pipeline of EXISTS."""
    pipelines = [
        b"".join(frame("EXISTS", key) for key in prompt.keys(0, count)) for prompt in prompts
    ]
    return cycle_of([partial(link.calls, request, count) for request in pipelines])


def new_prompts() -> Iterator[tuple[bytes, list[bytes]]]:
    """Endless new chains of WRITE_BLOCKS: packed, and one by one."""
    source = random.Random(SEED + 1)
    while True:
        prompt = Chain(source.randbytes(WRITE_BLOCKS * KEY_BYTES))
        yield prompt.blob, prompt.keys(0, WRITE_BLOCKS)


def write_ours(link: Link, requests: Iterator[bytes]) -> Callable[[], object]:
    """Reserve and publish one new chain a call."""
    tail = frame("CHECKSUMS", sums(WRITE_BLOCKS)).split(b"\r\n", 1)[1]

    def call() -> None:
        session, _, _ = link.call(next(requests))
        head = frame("KVC.FINISH", INSTANCE, session).split(b"\r\n", 1)[1]
        expect(link.call(b"*5\r\n" + head + tail), [WRITE_BLOCKS, 0])

    return call


def write_theirs(link: Link, requests: Iterator[bytes]) -> Callable[[], object]:
    """Write one new chain's locations a call."""
    return lambda: link.calls(next(requests), WRITE_BLOCKS)


def reservations(prompts: Iterator[tuple[bytes, list[bytes]]]) -> Iterator[bytes]:
    """STARTWRITE for each prompt."""
    for blob, _ in prompts:
        yield frame("KVC.STARTWRITE", INSTANCE, "FORMAT", "msgpack", "PACKED", KEY_BYTES, blob)


def assignments(prompts: Iterator[tuple[bytes, list[bytes]]]) -> Iterator[bytes]:
    """A pipeline of SET for each prompt."""
    value = b"l" * LOCATION_BYTES
    for _, keys in prompts:
        yield b"".join(frame("SET", key, value) for key in keys)


def prepared(source: Iterator[bytes], count: int) -> Iterator[bytes]:
    """The first `count` requests, encoded before the clock starts; more than that is an error."""
    requests = list(itertools.islice(source, count))

    def take() -> Iterator[bytes]:
        yield from requests
        raise ReplyError(f"more than the {count} prepared requests are needed")

    return take()


def run(ours: str, theirs: str, *, blocks: int, alternations: int, seconds: float) -> Suite:
    """Fill both sides with `blocks`, then measure lookups and reservations."""
    prompts = chains(blocks)
    method = f"one client, {len(prompts) * CHAIN_BLOCKS} blocks and keys of {KEY_BYTES} bytes"
    suite = Suite("kvc", method)
    with Link(ours) as our_link, Link(theirs) as their_link:
        fill_ours(our_link, prompts)
        fill_theirs(their_link, prompts)
        for count in LOOKUP_BLOCKS:
            check_lookup(our_link, their_link, prompts[0], count)
            mget = repeat(lookup(their_link, mget_requests(prompts, count)), seconds)
            asked = (
                ("GETLOC COUNT", count_requests, COUNT_TARGETS.get(count)),
                ("GETLOC msgpack", location_requests, LOCATIONS_TARGETS.get(count)),
            )
            for name, requests, target in asked:
                own = repeat(lookup(our_link, requests(prompts, count)), seconds)
                pairs = alternate(own, mget, alternations)
                suite.rows.append(compare_times(f"{name} {count} / MGET", pairs, target=target))
            own = repeat(lookup(our_link, count_requests(prompts, count)), seconds)
            exists = repeat(exists_calls(their_link, prompts[:8], count), seconds)
            pairs = alternate(own, exists, alternations)
            name = f"GETLOC COUNT {count} / EXISTS pipeline"
            suite.rows.append(compare_times(name, pairs, target=None))
        add_writes(suite, our_link, their_link, alternations=alternations)
        clean_up(our_link, their_link, prompts, alternations)
    return suite


def check_lookup(our_link: Link, their_link: Link, prompt: Chain, count: int) -> None:
    """Both sides must answer the question that is measured, or nothing is."""
    expect(our_link.call(count_requests([prompt], count)[0]), count)
    expect(our_link.call(location_requests([prompt], count)[0])[:2], [count, 0])
    expect(their_link.call(mget_requests([prompt], count)[0]), [b"l" * LOCATION_BYTES] * count)


def add_writes(suite: Suite, our_link: Link, their_link: Link, *, alternations: int) -> None:
    """STARTWRITE and FINISH beside a pipeline of SET, on new keys each call."""
    count = WRITE_CALLS * (alternations + 1)  # one more for warming up
    own = timed(write_ours(our_link, prepared(reservations(new_prompts()), count)))
    other = timed(write_theirs(their_link, prepared(assignments(new_prompts()), count)))
    own()
    other()
    pairs = alternate(own, other, alternations)
    name = f"STARTWRITE+FINISH {WRITE_BLOCKS} / SET pipeline"
    suite.rows.append(compare_times(name, pairs, target=WRITE_TARGET))


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """Seconds a call, over WRITE_CALLS calls."""

    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(WRITE_CALLS):
            call()
        return (time.perf_counter() - begin) / WRITE_CALLS

    return measure


def clean_up(our_link: Link, their_link: Link, prompts: list[Chain], alternations: int) -> None:
    """Leave both sides as they were found: they may be somebody's."""
    our_link.command("KVC.INSTANCE", "REMOVE", INSTANCE, "FORCE")
    for prompt in prompts:
        their_link.command("UNLINK", *prompt.keys(0, CHAIN_BLOCKS))
    for _, keys in itertools.islice(new_prompts(), WRITE_CALLS * (alternations + 1)):
        their_link.command("UNLINK", *keys)
