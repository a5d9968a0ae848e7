"""Lists beside Python's own, and the name of their encoding beside Redis' rules."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hotplate.keyspace.list import CHUNK, List

FILL = -2
NO_LIMIT = 2**62


def build(elements: list[bytes], fill: int = FILL) -> List:
    made = List()
    made.push_tail(elements, fill)
    return made


def numbered(count: int) -> list[bytes]:
    return [b"e%d" % index for index in range(count)]


def chunks_of(value: List) -> list[list[bytes]]:
    return list(value._chunks())


class ListBesidePython(RuleBasedStateMachine):
    """Every operation on both; some are large, so that there are chunks between the ends."""

    @initialize(count=st.sampled_from([0, 1, CHUNK, 2 * CHUNK, 5 * CHUNK + 3, 40 * CHUNK]))
    def start(self, count: int) -> None:
        self.naive = numbered(count)
        self.value = build(self.naive)

    @rule(count=st.sampled_from([1, 2, CHUNK + 1]), at_head=st.booleans())
    def push(self, count: int, at_head: bool) -> None:
        elements = [b"x%d" % (index % 3) for index in range(count)]
        if at_head:
            self.value.push_head(elements, FILL)
            self.naive[:0] = reversed(elements)
        else:
            self.value.push_tail(elements, FILL)
            self.naive += elements

    @rule(at_head=st.booleans())
    def pop(self, at_head: bool) -> None:
        if self.naive:
            pop = self.value.pop_head if at_head else self.value.pop_tail
            assert pop(FILL) == self.naive.pop(0 if at_head else -1)

    @rule(count=st.sampled_from([1, CHUNK, 3 * CHUNK - 1]), at_head=st.booleans())
    def take(self, count: int, at_head: bool) -> None:
        if at_head:
            taken, self.naive = self.naive[:count], self.naive[count:]
            assert self.value.take_head(count, FILL) == taken
        else:
            kept = max(len(self.naive) - count, 0)
            taken, self.naive = self.naive[kept:], self.naive[:kept]
            assert self.value.take_tail(count, FILL) == taken[::-1]

    @rule(data=st.data(), size=st.integers(0, 300))
    def read(self, data: st.DataObject, size: int) -> None:
        start = data.draw(st.integers(0, len(self.naive)))
        assert self.value.slice(start, start + size) == self.naive[start : start + size]
        if start < len(self.naive):
            assert self.value.get(start) == self.naive[start]

    @rule(data=st.data())
    def insert(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.naive)))
        self.value.insert(index, b"new", FILL)
        self.naive.insert(index, b"new")

    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        if self.naive:
            index = data.draw(st.integers(0, len(self.naive) - 1))
            self.value.replace(index, b"other", FILL)
            self.naive[index] = b"other"

    @rule(data=st.data(), count=st.sampled_from([1, 2, 30]))
    def remove(self, data: st.DataObject, count: int) -> None:
        if self.naive:
            index = data.draw(st.integers(0, len(self.naive) - 1))
            positions = list(range(index, min(index + count, len(self.naive))))
            self.value.remove(positions if count == 2 else positions[::-1], FILL)
            del self.naive[index : index + count]

    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, max(len(self.naive) // 4, 1)))
        end = data.draw(st.integers(start, max(len(self.naive), start)))
        self.value.keep(start, min(end, len(self.naive)), FILL)
        self.naive = self.naive[start:end]

    @rule()
    def copy(self) -> None:
        original, self.value = self.value, self.value.copy()
        original.push_head([b"alien"], FILL)
        original.shed(len(original))
        assert len(original) == 0

    @invariant()
    def holds_the_same(self) -> None:
        if not hasattr(self, "naive"):
            return
        assert len(self.value) == len(self.naive)
        assert list(self.value) == self.naive
        chunks = chunks_of(self.value)
        assert all(len(chunk) == CHUNK for chunk in chunks[1:-1])
        assert all(chunks) or not self.naive
        assert max(map(len, chunks)) <= CHUNK
        for limit in (NO_LIMIT, 7):
            wanted = [i for i, x in enumerate(self.naive[:limit]) if x == b"x1"]
            assert list(self.value.positions(b"x1", limit)) == wanted
            lowest = max(len(self.naive) - limit, 0)
            wanted = [i for i, x in enumerate(self.naive) if x == b"x1" and i >= lowest]
            assert list(self.value.last_positions(b"x1", limit)) == wanted[::-1]

    @invariant()
    def knows_its_bytes(self) -> None:
        if hasattr(self, "naive") and self.value._bytes >= 0:
            counted = self.value._bytes
            recounted = self.value.copy()
            recounted._is_listpack = True
            recounted._measure()
            assert counted == recounted._bytes


TestListBesidePython = ListBesidePython.TestCase
TestListBesidePython.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(
    ("element", "size"),
    [
        (b"", 2),
        (b"a", 3),
        (b"0", 2),
        (b"127", 2),
        (b"128", 3),
        (b"-1", 3),
        (b"-4096", 3),
        (b"4096", 4),
        (b"-32768", 4),
        (b"32768", 5),
        (b"8388608", 6),
        (b"-2147483649", 10),
        (b"9223372036854775808", 21),  # no integer any more
        (b"007", 5),
        (b"x" * 63, 65),
        (b"x" * 64, 67),
        (b"x" * 125, 128),
        (b"x" * 126, 130),
        (b"x" * 4095, 4099),
        (b"x" * 4096, 4103),
        (b"x" * 20000, 20008),
    ],
)
def test_an_element_takes_what_it_takes_in_a_listpack(element: bytes, size: int) -> None:
    value = build([element], 10)
    assert value._bytes == 7 + size


@pytest.mark.parametrize(
    ("fill", "node_bytes"), [(-1, 4096), (-2, 8192), (-3, 16384), (-4, 32768), (-5, 65536)]
)
def test_a_negative_fill_limits_bytes_and_half_of_them_bring_the_listpack_back(
    fill: int, node_bytes: int
) -> None:
    value = build([b"x" * 97] * ((node_bytes - 7) // 100), fill)  # 100 bytes each
    assert value.encoding() == b"listpack"
    value.push_tail([b"x" * 97], fill)
    assert value.encoding() == b"quicklist"
    while 7 + 100 * (len(value) - 1) > node_bytes // 2:
        value.pop_head(fill)
        assert value.encoding() == b"quicklist"
    value.pop_head(fill)
    assert value.encoding() == b"listpack"


def test_a_positive_fill_limits_the_number_and_8_kib() -> None:
    value = build(numbered(4), 4)
    assert value.encoding() == b"listpack"
    value.insert(2, b"x", 4)
    assert value.encoding() == b"quicklist"
    value.take_tail(2, 4)
    assert value.encoding() == b"quicklist"
    value.remove([0], 4)
    assert value.encoding() == b"listpack"
    value.replace(0, b"x" * 8200, 4)
    assert value.encoding() == b"quicklist"
    value.replace(0, b"x", 4)
    assert value.encoding() == b"listpack"


def test_a_long_list_is_counted_again_when_it_has_become_short() -> None:
    value = build(numbered(50_000))
    assert (value.encoding(), value._bytes) == (b"quicklist", -1)
    value.keep(20_000, 30_000, FILL)
    assert value.encoding() == b"quicklist"
    while len(value) > 600:
        value.pop_tail(FILL)
    assert value.encoding() == b"quicklist"
    value.take_head(300, FILL)
    assert value.encoding() == b"listpack"


@given(st.integers(1, 100_000), st.sampled_from([0, 5]))
@settings(max_examples=20, deadline=None)
def test_the_memory_estimate_is_near_what_is_allocated(count: int, samples: int) -> None:
    import sys

    value = build([b"element"] * count)
    spent: Any = sum(map(sys.getsizeof, chunks_of(value)))
    spent += count * sys.getsizeof(b"element")
    assert spent * 0.9 <= value.sample_bytes(samples) <= spent * 1.2 + 2000


def test_shedding_goes_in_steps() -> None:
    value = build(numbered(1000))
    value.shed(300)
    assert list(value) == numbered(700)
    value.shed(10_000)
    assert len(value) == 0
