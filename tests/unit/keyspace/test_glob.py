"""Globs, beside a plain translation of what Redis documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.keyspace.glob import compile_glob


def plainly(pattern: bytes, text: bytes) -> bool:
    """Slow and simple: character by character."""
    if not pattern:
        return not text
    first, rest = pattern[:1], pattern[1:]
    if first == b"*":
        return any(plainly(rest, text[at:]) for at in range(len(text) + 1))
    if not text:
        return False
    if first == b"?":
        return plainly(rest, text[1:])
    if first == b"[":
        members, rest = class_of(rest)
        return text[0] in members and plainly(rest, text[1:])
    if first == b"\\" and rest:
        first, rest = rest[:1], rest[1:]
    return text[:1] == first and plainly(rest, text[1:])


def class_of(rest: bytes) -> tuple[set[int], bytes]:
    negated = rest[:1] == b"^"
    rest = rest[negated:]
    members: set[int] = set()
    while rest:
        if rest[:1] == b"\\" and len(rest) > 1:
            members.add(rest[1])
            rest = rest[2:]
        elif rest[:1] == b"]":
            rest = rest[1:]
            break
        elif len(rest) > 2 and rest[1:2] == b"-":
            low, high = sorted((rest[0], rest[2]))
            members |= set(range(low, high + 1))
            rest = rest[3:]
        else:
            members.add(rest[0])
            rest = rest[1:]
    return (set(range(256)) - members if negated else members), rest


@given(
    st.text("ab*?[]^-\\\n", max_size=8).map(str.encode),
    st.text("ab]-^[\\\n*", max_size=6).map(str.encode),
)
def test_patterns_match_what_redis_would_match(pattern: bytes, text: bytes) -> None:
    assert bool(compile_glob(pattern)(text)) == plainly(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (b"h?llo", b"hello", True),
        (b"h*llo", b"heeeello", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[a-b]llo", b"hbllo", True),
        (b"[z-a]", b"m", True),
        (b"[]", b"]", False),
        (b"[^]", b"x", True),
        (b"[ab", b"b", True),
        (b"\\*", b"*", True),
        (b"\\", b"\\", True),
        (b"*\xff*", b"a\xff\n", True),
        (b"", b"", True),
    ],
)
def test_corners(pattern: bytes, text: bytes, matches: bool) -> None:
    assert bool(compile_glob(pattern)(text)) is matches


def test_case_is_ignored_only_on_request() -> None:
    assert not compile_glob(b"MaxMemory*")(b"maxmemory-policy")
    assert compile_glob(b"MaxMemory*", ignore_case=True)(b"maxmemory-policy")
    assert compile_glob(b"[A-C]x", ignore_case=True)(b"bX")


def test_a_hostile_pattern_takes_no_exponential_time() -> None:
    assert not compile_glob(b"a*" * 50 + b"b")(b"a" * 5000)
