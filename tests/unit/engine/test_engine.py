"""The shared state: clients and their ids, and what leaves with them."""

import pytest
from tests.testing.console import NoLink, build_engine

from hotplate.clock import ManualClock
from hotplate.engine.context import Gate


def test_client_ids_begin_at_one_and_never_return() -> None:
    engine = build_engine(ManualClock())
    first, second = engine.connect(NoLink()), engine.connect(NoLink())
    assert (first.client_id, second.client_id) == (1, 2)
    engine.disconnect(second)
    third = engine.connect(NoLink())
    assert third.client_id == 3
    assert engine.client_list() == [first, third]


def test_a_client_that_went_twice_is_gone_once() -> None:
    engine = build_engine(ManualClock())
    ctx = engine.connect(NoLink())
    engine.disconnect(ctx)
    engine.disconnect(ctx)
    assert engine.client_list() == []


def test_gates_are_switched_one_by_one() -> None:
    engine = build_engine(ManualClock())
    ctx = engine.connect(NoLink())
    engine.set_gate(ctx, Gate.REPLY_OFF, True)
    engine.set_gate(ctx, Gate.UNAUTHENTICATED, True)
    engine.set_gate(ctx, Gate.REPLY_OFF, False)
    assert ctx.gates == Gate.UNAUTHENTICATED


def test_without_a_server_nobody_can_shut_it_down() -> None:
    with pytest.raises(RuntimeError, match="no server runs this engine"):
        build_engine(ManualClock()).request_shutdown()


def test_active_expiry_can_be_switched_off() -> None:
    clock = ManualClock()
    engine = build_engine(clock)
    engine.databases[0].assign(b"a", b"v", clock.now_ms(), clock.now_ms() + 5)
    engine.active_expire = False
    assert engine.expire_keys(clock.now_ms() + 6) is False
    assert engine.databases[0].size() == 1
    engine.active_expire = True
    assert engine.expire_keys(clock.now_ms() + 6) is False
    assert engine.databases[0].size() == 0
