"""Error replies become exceptions that explain themselves."""

import pytest
from redis.exceptions import ResponseError

from hotplate.clients.errors import ERRORS, KVCacheError, QuotaError, error_of_text
from hotplate.wire.codes import KVC_CODES


def test_every_code_of_the_kv_cache_has_an_exception() -> None:
    assert set(ERRORS) == {"ERR", *KVC_CODES}


@pytest.mark.parametrize("code", sorted(KVC_CODES))
def test_a_reply_becomes_the_exception_of_its_code(code: str) -> None:
    error = error_of_text(f"{code} what happened")
    assert type(error) is ERRORS[code]
    assert (error.reply_code, error.message) == (code, "what happened")
    assert isinstance(error, ResponseError)


def test_a_quota_error_says_its_figures_and_when_to_come_back() -> None:
    error = error_of_text("QUOTA group g used=90 limit=100 need=20 retry_ms=250")
    assert isinstance(error, QuotaError)
    assert error.figures == {"used": 90, "limit": 100, "need": 20, "retry_ms": 250}
    assert error.retry_ms == 250


def test_a_request_that_can_never_fit_has_no_time_to_come_back() -> None:
    error = error_of_text("QUOTA group g used=0 limit=100 need=200 retry_ms=-1")
    assert isinstance(error, QuotaError)
    assert error.retry_ms is None


def test_an_unknown_code_is_kept() -> None:
    error = error_of_text("NEWCODE of a later version")
    assert type(error) is KVCacheError
    assert (error.reply_code, error.message) == ("NEWCODE", "of a later version")


@pytest.mark.parametrize("text", ["wrong number of arguments", "ERR wrong number of arguments"])
def test_the_plain_code_is_known_with_its_word_and_without(text: str) -> None:
    error = error_of_text(text)
    assert (error.reply_code, error.message) == ("ERR", "wrong number of arguments")
