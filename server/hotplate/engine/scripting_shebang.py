"""The first line of scripts and libraries: `#!lua name=... flags=...`."""

from dataclasses import dataclass
from typing import Final

from hotplate.errors import CommandError

FLAG_NAMES: Final = frozenset(
    (b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys")
)
_NAME_CHARACTERS: Final = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
)
BAD_NAME: Final = (
    b"Library names can only contain letters, numbers, or underscores(_) and must be at least one"
    b" character long"
)


@dataclass(frozen=True, slots=True)
class Shebang:
    """What a script or library says of itself, and its code: the line ends with the first line of
    the code, so that line numbers hold."""

    code: bytes
    name: bytes = b""
    flags: frozenset[bytes] | None = None  # None: a script that says nothing, as before Redis 7


def is_name(text: bytes) -> bool:
    """Whether it can name a library or a function."""
    return bool(text) and _NAME_CHARACTERS.issuperset(text)


def read_script(text: bytes) -> Shebang:
    """Of EVAL and SCRIPT LOAD."""
    if not text.startswith(b"#!"):
        return Shebang(text)
    line, newline, _ = text.partition(b"\n")
    if not newline:
        raise CommandError("Invalid script shebang")
    engine, *options = line.split() or [b""]
    if engine != b"#!lua":
        raise CommandError(b"Unexpected engine in script shebang: " + engine)
    flags: frozenset[bytes] = frozenset()
    for option in options:
        if not option.startswith(b"flags="):
            raise CommandError(b"Unknown lua shebang option: " + option)
        flags = frozenset(option[len(b"flags=") :].split(b",")) - {b""}
        for flag in flags - FLAG_NAMES:
            raise CommandError(b"Unexpected flag in script shebang: " + flag)
    return Shebang(text[len(line) :], flags=flags)


def read_library(text: bytes) -> Shebang:
    """Of FUNCTION LOAD: the name is needed, and nothing else is known."""
    if not text.startswith(b"#!"):
        raise CommandError("Missing library metadata")
    line, newline, _ = text.partition(b"\n")
    if not newline:
        raise CommandError("Invalid library metadata")
    engine, *options = line[2:].split() or [b""]
    name: bytes | None = None
    for option in options:
        if not option.lower().startswith(b"name="):
            raise CommandError(b"Invalid metadata value given: " + option)
        if name is not None:
            raise CommandError("Invalid metadata value, name argument was given multiple times")
        name = option[len(b"name=") :]
    if name is None:
        raise CommandError("Library name was not given")
    if not is_name(name):
        raise CommandError(BAD_NAME)
    if engine.lower() != b"lua":
        raise CommandError(b"Engine '%b' not found" % engine)
    return Shebang(text[len(line) :], name=name)
