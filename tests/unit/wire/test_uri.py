"""Location URIs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.wire.uri import BadUriError, LocationUri, parse_uri

numbers = st.integers(0, 2**63)


@given(st.sampled_from(["shm", "file"]), st.text(min_size=1), st.text(min_size=1), numbers, numbers)
def test_what_is_built_parses_to_the_same(
    scheme: str, storage: str, segment: str, offset: int, size: int
) -> None:
    location = LocationUri(scheme, storage, segment, offset, size, 7)
    assert parse_uri(str(location)) == location


def test_a_uri_looks_as_documented() -> None:
    location = LocationUri("file", "disk/1", "seg-000001", 8192, 512, 3)
    assert str(location) == "file://disk%2F1/seg-000001?offset=8192&size=512&gen=3"
    assert parse_uri(str(location).encode()) == location


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shm:/memory/a?offset=0&size=1&gen=1",
        "http://memory/a?offset=0&size=1&gen=1",
        "shm://memory?offset=0&size=1&gen=1",
        "shm:///a?offset=0&size=1&gen=1",
        "shm://memory/?offset=0&size=1&gen=1",
        "shm://memory/a?offset=0&size=1",
        "shm://memory/a?offset=0&size=1&gen=1&gen=2",
        "shm://memory/a?offset=-1&size=1&gen=1",
        "shm://memory/a?offset=0&size=1&gen=",
        "shm://memory/a?offset=0&size=1&gen=1&more=1",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadUriError):
        parse_uri(text)
