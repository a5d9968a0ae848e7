"""Copying blocks between storages: every byte is compared with its sum, if it has one."""

from types import SimpleNamespace
from typing import Any

import pytest
from xxhash import xxh3_64_digest

from hotplate.engine.kvc_moves import copy_slots
from hotplate.kvc.moves import CorruptError

NO_SUM = bytes(8)


class Slots:
    """A storage of a few slots."""

    def __init__(self, payloads: list[bytes]) -> None:
        self.payloads = dict(enumerate(payloads))

    def read(self, shape: Any, place: int, offset: int, size: int) -> bytes:
        """A slot's bytes."""
        return self.payloads[place][offset : offset + size]

    def write(self, shape: Any, place: int, offset: int, data: bytes) -> None:
        """Fill a slot."""
        assert offset == 0
        self.payloads[place] = data


def move_of(payloads: list[bytes], sums: list[bytes]) -> Any:
    """All slots of one storage to another, two specs of 3 and 4 bytes each."""
    return SimpleNamespace(
        shape=SimpleNamespace(payload_bytes=7),
        count=len(payloads),
        sizes=[3, 4],
        sums=b"".join(sums),
        source_store=Slots(payloads),
        source_place=0,
        target_store=Slots([]),
        target_place=10,
    )


def sums_of(payload: bytes) -> list[bytes]:
    """The sums of both specs."""
    return [xxh3_64_digest(payload[:3]), xxh3_64_digest(payload[3:])]


def test_every_slot_is_copied_and_its_sums_stay() -> None:
    payloads = [b"abcdefg", b"hijklmn"]
    sums = [*sums_of(payloads[0]), *sums_of(payloads[1])]
    move = move_of(payloads, sums)
    copy_slots(move)
    assert move.target_store.payloads == {10: payloads[0], 11: payloads[1]}
    assert move.sums == b"".join(sums)


def test_a_block_without_sums_gets_those_of_what_was_copied() -> None:
    payload = b"abcdefg"
    first, second = sums_of(payload)
    move = move_of([payload], [NO_SUM, second])
    copy_slots(move)
    assert move.sums == first + second


@pytest.mark.parametrize("spec", [0, 1])
def test_damage_stops_the_move(spec: int) -> None:
    sums = [*sums_of(b"abcdefg"), *sums_of(b"hijklmn")]
    sums[2 + spec] = b"damaged!"
    move = move_of([b"abcdefg", b"hijklmn"], sums)
    with pytest.raises(CorruptError):
        copy_slots(move)
    assert move.target_store.payloads == {10: b"abcdefg"}
