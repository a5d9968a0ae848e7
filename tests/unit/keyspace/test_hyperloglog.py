"""HyperLogLogs against plain registers, and against bytes that a real Redis made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.errors import InvalidObjectError
from hotplate.keyspace.hyperloglog import (
    DENSE_BYTES,
    REGISTERS,
    add,
    add_to_dense,
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
    pack_registers,
    raise_registers,
    registers_of,
    set_register,
)
from hotplate.keyspace.murmur import murmur_hash, murmur_hashes

# near each other, so that runs are split and joined
changes = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 12), st.integers(0, REGISTERS - 1), st.just(REGISTERS - 1)),
        st.one_of(st.integers(1, 3), st.integers(1, 51)),
    ),
    max_size=60,
)


@given(changes, st.sampled_from([0, 40, 3000]))
def test_registers_are_the_greatest_that_was_ever_put_in(
    counts: list[tuple[int, int]], sparse_bytes_max: int
) -> None:
    data = new_sketch()
    wanted = bytearray(REGISTERS)
    for index, count in counts:
        changed = set_register(data, index, count, sparse_bytes_max)
        assert changed is (count > wanted[index])
        wanted[index] = max(wanted[index], count)
        assert is_sketch(data)
    assert registers_of(data) == wanted
    make_dense(data)
    assert registers_of(data) == wanted
    assert len(data) == DENSE_BYTES


@given(changes, changes, st.booleans())
def test_a_merge_takes_the_greater_register(
    first: list[tuple[int, int]], second: list[tuple[int, int]], dense: bool
) -> None:
    one, other = new_sketch(), new_sketch()
    for index, count in first:
        set_register(one, index, count, 3000)
    for index, count in second:
        set_register(other, index, count, 3000)
    if dense:
        make_dense(one)
    wanted = bytes(map(max, registers_of(one), registers_of(other)))
    assert merge_registers(registers_of(one), registers_of(other)) == wanted
    raise_registers(one, registers_of(other), 3000)
    assert registers_of(one) == wanted
    assert cached_count(one) is None


@given(st.lists(st.integers(0, 63), min_size=64, max_size=64))
def test_packing_is_undone_by_reading(some: list[int]) -> None:
    registers = bytes(some) * (REGISTERS // 64)
    dense = new_sketch()
    make_dense(dense)
    dense[16:] = pack_registers(registers)
    assert registers_of(dense) == registers


@pytest.mark.parametrize(
    ("element", "expected"),
    # these elements set the same registers of a real Redis
    [
        (b"", 0xD8DFEA6585BC9732),
        (b"a", 0x53D2470A9B43B1A7),
        (b"hello world", 0xA919BC3051F624B7),
    ],
)
def test_the_hash_is_that_of_redis(element: bytes, expected: int) -> None:
    assert murmur_hash(element) == expected


@given(st.binary(min_size=60, max_size=200))
def test_long_elements_are_hashed_as_short_ones_are(element: bytes) -> None:
    """Word by word, as the definition has it."""
    mask, factor = 2**64 - 1, 0xC6A4A7935BD1E995
    state = 0xADC83B19 ^ len(element) * factor & mask
    whole = len(element) // 8 * 8
    for at in range(0, whole, 8):
        word = int.from_bytes(element[at : at + 8], "little") * factor & mask
        word = (word ^ word >> 47) * factor & mask
        state = (state ^ word) * factor & mask
    if element[whole:]:
        state = (state ^ int.from_bytes(element[whole:], "little")) * factor & mask
    state = (state ^ state >> 47) * factor & mask
    assert murmur_hash(element) == state ^ state >> 47


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b"x" * 16)), max_size=30))
def test_many_are_hashed_as_one_is(elements: list[bytes]) -> None:
    assert list(murmur_hashes(elements)) == list(map(murmur_hash, elements))
    same = [element.ljust(40, b".") for element in elements]
    assert list(murmur_hashes(same)) == list(map(murmur_hash, same))


@given(st.lists(st.binary(max_size=3), max_size=40))
def test_adding_to_a_dense_one_tells_of_each_whether_it_changed(elements: list[bytes]) -> None:
    one, other = new_sketch(), new_sketch()
    make_dense(one)
    make_dense(other)
    assert add_to_dense(one, elements) == [add(other, [element], 0) for element in elements]
    assert one == other


@pytest.mark.parametrize("number", [0, 1, 10, 100, 1000, 20_000])
def test_the_estimate_is_near(number: int) -> None:
    data = new_sketch()
    add(data, [b"element %d" % n for n in range(number)], 3000)
    assert abs(estimate(registers_of(data)) - number) <= max(number * 0.03, 0)
    assert is_sparse(data) is (number <= 1000)


@pytest.mark.parametrize("count", [50, 51, 52, 63])
def test_an_estimate_is_a_number_of_64_bits(count: int) -> None:
    assert estimate(bytes([count]) * REGISTERS) == 2**63 - 1
    assert estimate(bytes(REGISTERS)) == 0


def test_a_count_is_remembered_until_something_changes() -> None:
    data = new_sketch()
    assert cached_count(data) == 0
    add(data, [b"a"], 3000)
    assert cached_count(data) is None
    cache_count(data, 1)
    assert cached_count(data) == 1
    assert add(data, [b"a"], 3000) is False
    assert cached_count(data) == 1
    forget_count(data)
    assert cached_count(data) is None


def test_runs_are_split_and_joined_as_redis_does() -> None:
    data = new_sketch()
    add(data, [b"a", b"b", b"c"], 3000)
    assert describe_runs(data) == b"Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603"
    for index in range(4):
        set_register(data, 100 + index, 7, 3000)
    assert b"Z:100 v:7,4 Z:" in describe_runs(data)
    set_register(data, 101, 9, 3000)
    assert b"Z:100 v:7,1 v:9,1 v:7,2 Z:" in describe_runs(data)


@pytest.mark.parametrize(
    "runs",
    [b"", b"\x00", b"\x7f", b"\x7f\xff\x80", b"\x7f\xfe", b"\x7f\xff\x7f\xff", b"\x3f" * 300],
)
def test_runs_that_do_not_cover_all_registers_are_refused(runs: bytes) -> None:
    data = bytearray(bytes(new_sketch()[:16]) + runs)
    assert is_sketch(data)
    with pytest.raises(InvalidObjectError):
        registers_of(data)
    with pytest.raises(InvalidObjectError):
        make_dense(data)


def test_a_register_behind_the_last_run_is_refused() -> None:
    data = bytearray(bytes(new_sketch()[:16]) + b"\x3f")
    assert set_register(data, 63, 1, 3000)
    with pytest.raises(InvalidObjectError):
        set_register(data, 64, 1, 3000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HYLL",
        b"HYLX" + bytes(14),
        b"HYLL\x02" + bytes(13),
        b"HYLL\x00" + bytes(13),
        b"HYLL" + bytes(DENSE_BYTES - 3),
    ],
)
def test_other_strings_are_none(data: bytes) -> None:
    assert not is_sketch(data)
