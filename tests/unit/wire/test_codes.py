"""Error codes shared with clients."""

import hotplate.errors as server
from hotplate.wire.codes import KVC_CODES, parse_fields


def test_every_code_is_one_that_the_server_raises() -> None:
    assert set(KVC_CODES) <= set(server.CODES)


def test_every_kv_cache_error_of_the_server_is_known_to_clients() -> None:
    ours = {code for code, kind in server.CODES.items() if (kind.__doc__ or "").startswith("KVC:")}
    assert ours == set(KVC_CODES)


def test_integer_fields_of_an_error_text_are_read() -> None:
    text = "group default used=100 limit=200 need=150 retry_ms=-1 name=x="
    assert parse_fields(text) == {"used": 100, "limit": 200, "need": 150, "retry_ms": -1}
