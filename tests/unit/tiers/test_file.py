"""Blocks in files of their own: names, sharing, removal, restarts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotplate.blocks import Extent, Shape, StoreFullError
from hotplate.clock import ManualClock
from hotplate.kvc.ports import KeptStore
from hotplate.tiers.directory import DirectoryGoneError, StoreOpenError
from hotplate.tiers.file import REMOVALS_PER_JOB, BlockLostError, FileStore, open_file_store
from hotplate.tiers.ssd import open_ssd_store
from hotplate.tiers.watched import Store

SHAPE = Shape(payload_bytes=5000, key_bytes=8, sum_count=1)
OTHER = Shape(payload_bytes=300, key_bytes=8, sum_count=1)
CAPACITY = 1 << 20


@pytest.fixture(params=[1, 3], ids=["alone", "threes"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileStore]:
    opened = opened_at(tmp_path, request.param)
    yield opened
    opened.close(remove=True)


def opened_at(path: Path, keys_per_file: int, *, keep: bool = False) -> FileStore:
    """A store in the folder `nfs`."""
    return open_file_store(
        "nfs", str(path / "nfs"), CAPACITY, keys_per_file, clock=ManualClock(), keep=keep
    )


def files(store: FileStore) -> set[str]:
    """The block files that are there."""
    return {path.name for path in Path(str(store.describe()["path"])).glob("*.block")}


def slots(extents: list[Extent]) -> list[int]:
    """Every place."""
    return [extent.place + i for extent in extents for i in range(extent.count)]


def content(place: int, shape: Shape = SHAPE) -> bytes:
    """The bytes of a block."""
    return place.to_bytes(10, "big") * (shape.payload_bytes // 10)


def put(store: FileStore, count: int, shape: Shape = SHAPE) -> list[int]:
    """Blocks with their bytes."""
    places = slots(store.reserve(shape, count))
    for place in places:
        store.write(shape, place, 0, content(place, shape))
        store.publish(shape, place, bytes(8), bytes(8))
    return places


def remove_now(store: FileStore) -> None:
    """Do the jobs that remove files."""
    while (job := store.begin_removal()) is not None:
        assert store.begin_removal() is None, "one at a time"
        assert store.finish_removal(job()) is None


def test_it_is_a_storage_like_the_others(store: FileStore) -> None:
    ports: tuple[KeptStore, Store] = (store, store)
    assert [port.kind for port in ports] == ["file", "file"]
    assert store.blocking
    with pytest.raises(TypeError):
        store.view(SHAPE, 1)


def test_blocks_reserved_together_are_one_extent_and_fill_files_in_order(store: FileStore) -> None:
    (extent,) = store.reserve(SHAPE, 7)
    assert files(store) == set(), "files come with the first write"
    for place in slots([extent]):
        store.write(SHAPE, place, 0, content(place))
    store.sync(slots([extent]))
    located = [store.locate(SHAPE, place) for place in slots([extent])]
    if store.keys_per_file == 1:
        assert [(offset, stride) for _, offset, stride in located] == [(0, 5000)] * 7
        assert len(files(store)) == 7
        assert [store.slots_from(place) for place in slots([extent])] == [1] * 7
    else:
        assert [offset for _, offset, _ in located] == [0, 8192, 16384, 0, 8192, 16384, 0]
        assert len(files(store)) == 3
        assert [store.slots_from(place) for place in slots([extent])] == [3, 2, 1, 3, 2, 1, 3]
    assert {name for name, _, _ in located} == files(store)
    for place, (name, offset, _) in zip(slots([extent]), located, strict=True):
        path = Path(str(store.describe()["path"]), name)
        assert path.read_bytes()[offset : offset + 5000] == content(place)
        assert path.stat().st_mode & 0o777 & ~0o022 == 0o660 & ~0o022
        assert store.read(SHAPE, place, 10, 30) == content(place)[10:40]
        assert store.generation(SHAPE, place) == extent.generation


def test_a_file_that_is_not_full_gets_the_next_blocks_of_its_shape(tmp_path: Path) -> None:
    store = opened_at(tmp_path, 4)
    first = put(store, 3)
    other = put(store, 2, OTHER)
    second = put(store, 3)
    assert second[0] == first[-1] + 1
    assert second[1] % 4 == 0
    assert other[0] % 4 == 0
    assert len(files(store)) == 3
    for place in first + second:
        assert store.read(SHAPE, place, 0, 5000) == content(place)
    store.close(remove=True)


def test_a_file_goes_with_its_last_block_and_never_before(tmp_path: Path) -> None:
    store = opened_at(tmp_path, 3)
    places = put(store, 7)
    allocated = store.allocated_bytes
    store.release(SHAPE, places[0], 2)
    store.release(SHAPE, places[5], 1)
    remove_now(store)
    assert len(files(store)) == 3
    assert store.allocated_bytes == allocated
    for place in (places[2], places[3], places[4], places[6]):
        assert store.read(SHAPE, place, 0, 5000) == content(place)
    store.release(SHAPE, places[2], 3)
    assert len(files(store)) == 3, "not in the call itself"
    remove_now(store)
    assert len(files(store)) == 1
    assert store.allocated_bytes == 8192
    assert store.read(SHAPE, places[6], 0, 5000) == content(places[6])
    with pytest.raises(ValueError, match="free already"):
        store.release(SHAPE, places[0], 1)
    store.close(remove=True)


def test_the_file_that_still_had_slots_gets_no_more_once_it_is_to_go(tmp_path: Path) -> None:
    store = opened_at(tmp_path, 3)
    (place,) = put(store, 1)
    store.release(SHAPE, place, 1)
    again = put(store, 1)[0]
    assert again // 3 != place // 3
    remove_now(store)
    assert store.read(SHAPE, again, 0, 5000) == content(again)
    assert len(files(store)) == 1
    store.close(remove=True)


def test_capacity_counts_files_until_they_are_gone(store: FileStore) -> None:
    held = slots(store.reserve(SHAPE, 10))
    stride = store.locate(SHAPE, held[0])[2]
    with pytest.raises(StoreFullError) as refused:
        store.reserve(SHAPE, CAPACITY)
    most = CAPACITY // stride - 10
    assert refused.value.largest_free == most * 5000
    rest = slots(store.reserve(SHAPE, most))
    store.release(SHAPE, rest[0], most)
    with pytest.raises(StoreFullError):
        store.reserve(SHAPE, most)
    remove_now(store)
    store.reserve(SHAPE, most // 3 * 3 - 3)
    assert store.allocated_bytes <= CAPACITY


def test_a_removal_that_fails_is_heard_and_tried_again(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = put(store, 6)
    allocated = store.allocated_bytes
    store.release(SHAPE, places[0], 6)
    real = os.unlink

    def unlink(path: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "unlink", unlink)
    job = store.begin_removal()
    assert job is not None
    error = store.finish_removal(job())
    assert error is not None
    assert error.errno == 5
    assert store.allocated_bytes == allocated
    assert store.begin_removal() is not None
    refused = BlockingIOError("no thread")
    assert store.finish_removal(refused) is refused
    store.begin_removal()
    with pytest.raises(KeyError):
        store.finish_removal(KeyError("a bug"))
    monkeypatch.setattr(os, "unlink", real)
    remove_now(store)
    assert (store.allocated_bytes, files(store)) == (0, set())


def test_removals_come_in_parts(tmp_path: Path) -> None:
    store = opened_at(tmp_path, 1)
    places = slots(store.reserve(OTHER, REMOVALS_PER_JOB + 1))
    store.release(OTHER, places[0], len(places))
    job = store.begin_removal()
    assert job is not None
    assert len(job()) == REMOVALS_PER_JOB
    store.finish_removal([(0, None)] * REMOVALS_PER_JOB)
    remove_now(store)
    assert store.allocated_bytes == 0
    store.close(remove=True)


def test_what_is_not_a_slot_or_does_not_fit_is_refused(store: FileStore) -> None:
    places = put(store, 2)
    refusals: list[Callable[[], object]] = [
        lambda: store.reserve(SHAPE, 0),
        lambda: store.reserve(Shape(0, 8, 1), 1),
        lambda: store.release(SHAPE, places[1], 2),
        lambda: store.release(SHAPE, places[0] + 1000, 1),
        lambda: store.publish(SHAPE, places[1], bytes(16), bytes(16)),
        lambda: store.publish(SHAPE, places[1], b"", b""),
        lambda: store.generation(SHAPE, places[1] + 1),
        lambda: store.write(SHAPE, places[0], 4999, b"xx"),
        lambda: store.write(SHAPE, places[0], -1, b"x"),
        lambda: store.read(SHAPE, places[0], 0, 5001),
        lambda: store.read(SHAPE, places[0], 1, -1),
    ]
    for refusal in refusals:
        with pytest.raises(ValueError):
            refusal()
    assert store.read(SHAPE, places[1], 0, 5000) == content(places[1])
    store.release(SHAPE, places[0], 2)
    with pytest.raises(ValueError, match="free already"):
        store.release(SHAPE, places[0], 1)


def test_a_file_that_is_gone_or_cut_is_a_lost_block_and_a_lost_directory_is_not(
    store: FileStore,
) -> None:
    places = put(store, 1) + put(store, 1, OTHER)
    directory = Path(str(store.describe()["path"]))
    os.truncate(directory / store.locate(SHAPE, places[0])[0], 4999)
    (directory / store.locate(OTHER, places[1])[0]).unlink()
    for shape, place in ((SHAPE, places[0]), (OTHER, places[1])):
        with pytest.raises(BlockLostError):
            store.read(shape, place, 0, shape.payload_bytes)
    assert store.examine(0, probe=True) == frozenset()
    directory.rename(directory.with_name("away"))
    with pytest.raises(OSError, match="No such file") as failed:
        store.read(OTHER, places[1], 0, 10)
    assert not isinstance(failed.value, BlockLostError)
    with pytest.raises(DirectoryGoneError):
        store.examine(0, probe=True)
    directory.with_name("away").rename(directory)
    assert store.examine(0, probe=True) == frozenset()


def test_a_directory_that_is_mounted_again_loses_nothing(store: FileStore, tmp_path: Path) -> None:
    (place,) = put(store, 1)
    directory = Path(str(store.describe()["path"]))
    copy = tmp_path / "copy"  # another directory with the same content, as after a remount
    copy.mkdir()
    for path in directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    directory.rename(tmp_path / "old")
    copy.rename(directory)
    with pytest.raises(DirectoryGoneError):
        store.examine(0, probe=True)
    assert store.reopen() == frozenset()
    assert store.examine(0, probe=True) == frozenset()
    assert store.read(SHAPE, place, 0, 5000) == content(place)
    with pytest.raises(StoreOpenError, match="in use"):
        opened_at(tmp_path, 1)


def test_a_directory_that_is_gone_for_good_is_made_anew_and_all_is_lost(store: FileStore) -> None:
    places = put(store, 3)
    directory = Path(str(store.describe()["path"]))
    directory.rename(directory.with_name("away"))
    lost = store.reopen()
    assert lost == {place >> 32 for place in places}
    store.lose(lost)
    store.restore()
    with pytest.raises(BlockLostError):
        store.read(SHAPE, places[0], 0, 10)
    store.release(SHAPE, places[0], 3)
    remove_now(store)
    (again,) = put(store, 1)
    assert again > places[-1]
    assert store.read(SHAPE, again, 0, 5000) == content(again)


def test_names_are_not_used_again_after_a_restart(tmp_path: Path) -> None:
    seen: set[int] = set()
    for keys_per_file in (1, 3, 2):
        store = opened_at(tmp_path, keys_per_file)
        places = put(store, 5)
        assert not seen & set(places)
        assert min(places) > max(seen, default=0)
        seen |= set(places)
        store.close(remove=False)
    assert len(list((tmp_path / "nfs").glob("*.block"))) == 3
    opened_at(tmp_path, 1).close(remove=True)
    assert not (tmp_path / "nfs").exists()


def test_adopted_blocks_outlive_a_restart_and_the_others_go(store: FileStore) -> None:
    places = put(store, 7)
    unwritten = slots(store.reserve(OTHER, 1))[0]
    directory = Path(str(store.describe()["path"]))
    foreign = directory / "0000000000000001.block.bak"
    foreign.write_bytes(b"someone else's")
    store.close(remove=False)
    kept = opened_at(directory.parent, store.keys_per_file, keep=True)
    assert list(kept.found()) == []
    assert kept.adopt(unwritten, 1, 5) == []
    [adopted] = kept.adopt(places[4], 1, 5)
    assert (adopted.place, adopted.count, adopted.serving) == (places[4], 1, True)
    assert kept.adopt(places[4], 1, 5) == [], "each slot once"
    several = kept.adopt(places[0], 3, 5)
    assert sum(each.count for each in several) == 3
    assert several[0].place == places[0]
    gone = kept.settle()
    assert gone == (3 if store.keys_per_file == 1 else 1)
    assert foreign.exists()
    for place in (*places[:3], places[4]):
        assert kept.read(SHAPE, place, 0, 5000) == content(place)
    assert kept.reserve(SHAPE, 1)[0].place > places[-1]
    allocated = kept.allocated_bytes
    kept.release(SHAPE, places[0], 3)
    remove_now(kept)
    assert kept.allocated_bytes < allocated
    foreign.unlink()
    kept.close(remove=True)
    opened_at(directory.parent, store.keys_per_file).close(remove=False)  # for the fixture
    store._directory = opened_at(directory.parent, store.keys_per_file)._directory


def test_a_directory_of_segments_is_refused(tmp_path: Path) -> None:
    ssd = open_ssd_store("ssd", str(tmp_path / "nfs"), CAPACITY)
    ssd.reserve(SHAPE, 1)
    ssd.close(remove=False)
    with pytest.raises(StoreOpenError, match="segment files of another storage"):
        opened_at(tmp_path, 1)
    open_ssd_store("ssd", str(tmp_path / "nfs"), CAPACITY).close(remove=True)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), keys_per_file=st.sampled_from([1, 2, 5]))
def test_bytes_and_files_add_up_whatever_is_reserved_and_released(
    data: st.DataObject, keys_per_file: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any")
    store = opened_at(path, keys_per_file)
    live: dict[int, Shape] = {}
    for step in data.draw(st.lists(st.sampled_from("pprd"), max_size=20)):
        if step == "p":
            shape = data.draw(st.sampled_from([SHAPE, OTHER]))
            places = put(store, data.draw(st.integers(1, 7)), shape)
            assert not live.keys() & set(places)
            live |= dict.fromkeys(places, shape)
        elif step == "r" and live:
            place = data.draw(st.sampled_from(sorted(live)))
            store.release(live.pop(place), place, 1)
        elif step == "d":
            remove_now(store)
        for place, shape in live.items():
            assert store.read(shape, place, 0, shape.payload_bytes) == content(place, shape)
    remove_now(store)
    assert files(store) == {store.locate(shape, place)[0] for place, shape in live.items()}
    for place, shape in live.items():
        store.release(shape, place, 1)
    remove_now(store)
    assert (store.allocated_bytes, files(store)) == (0, set())
    store.close(remove=True)
