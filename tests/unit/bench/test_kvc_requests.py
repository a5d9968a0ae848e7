"""What the kvc suite asks of both sides."""

from itertools import islice

import pytest

from hotplate.bench.kvc import (
    CHAIN_BLOCKS,
    KEY_BYTES,
    WRITE_BLOCKS,
    chains,
    count_requests,
    mget_requests,
    new_prompts,
    prepared,
)
from hotplate.bench.link import ReplyError, frame


def test_both_sides_are_asked_for_the_same_keys() -> None:
    (prompt,) = chains(CHAIN_BLOCKS)
    ours = count_requests([prompt], 16)[0]
    theirs = mget_requests([prompt], 16)[0]
    keys = [prompt.packed(16)[start : start + KEY_BYTES] for start in range(0, 256, KEY_BYTES)]
    assert theirs == frame("MGET", *keys)
    assert b"".join(keys) in ours


def test_chains_are_the_same_in_every_run_and_share_no_key() -> None:
    first, second = chains(2 * CHAIN_BLOCKS)
    assert [first, second] == chains(2 * CHAIN_BLOCKS)
    keys = first.keys(0, CHAIN_BLOCKS) + second.keys(0, CHAIN_BLOCKS)
    assert len(set(keys)) == 2 * CHAIN_BLOCKS


def test_new_prompts_are_never_repeated() -> None:
    keys = [key for _, chain in islice(new_prompts(), 20) for key in chain]
    assert len(set(keys)) == 20 * WRITE_BLOCKS


def test_running_out_of_prepared_requests_is_an_error_and_not_a_fast_result() -> None:
    requests = prepared(iter([b"a", b"b", b"c"]), 2)
    assert [next(requests), next(requests)] == [b"a", b"b"]
    with pytest.raises(ReplyError, match="more than the 2"):
        next(requests)
