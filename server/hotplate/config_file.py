"""The configuration file and the command line, in the syntax of redis.conf and redis-server.

    # comment                        one setting a line: name, then its words
    requirepass "a \\x41 quoted word"  quotes as in redis-cli: "..." with escapes, '...' without

A file is rewritten in place: lines stay where they are with their comments, values that changed
are replaced, settings that the file did not name come at the end. The new file replaces the old
one at once, so that a crash leaves one of the two.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hotplate.config import ALIASES, OPTIONS, Config, ConfigError, Pairs, UnknownSettingError

_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}
_SPACE: Final = " \t\r\n\f\v"
_REWRITE_HEADER: Final = "# Set at run time, written by CONFIG REWRITE"
_SET_AT_START: Final = frozenset(("include", "loadmodule", "rename-command", "user"))

Setting = tuple[str, list[str]]


def split_words(line: str) -> list[str] | None:
    """The words of a line, quotes resolved; None where quotes don't balance."""
    words: list[str] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SPACE:
            at += 1
        if at == len(line):
            return words
        word: list[str] = []
        while at < len(line) and line[at] not in _SPACE:
            if line[at] not in "\"'":
                word.append(line[at])
                at += 1
                continue
            end = _take_quoted(line, at, word)
            if end is None:
                return None
            at = end
        # escapes give single bytes: join those that make up one character
        whole = "".join(word).encode("utf-8", "surrogateescape")
        words.append(whole.decode("utf-8", "surrogateescape"))


def _take_quoted(line: str, start: int, word: list[str]) -> int | None:
    """Append what the quotes at `start` hold; where they end, or None."""
    quote = line[start]
    at = start + 1
    while at < len(line):
        character = line[at]
        if character == quote:
            at += 1
            return at if at == len(line) or line[at] in _SPACE else None
        if character == "\\" and quote == "'" and line[at + 1 : at + 2] == "'":
            word.append("'")
            at += 2
        elif character == "\\" and quote == '"' and at + 1 < len(line):
            digits = line[at + 2 : at + 4]
            if line[at + 1] == "x" and len(digits) == 2 and _is_hex(digits):
                word.append(bytes([int(digits, 16)]).decode("utf-8", "surrogateescape"))
                at += 4
            else:
                word.append(_ESCAPES.get(line[at + 1], line[at + 1]))
                at += 2
        else:
            word.append(character)
            at += 1
    return None


def _is_hex(digits: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in digits)


def quote_word(word: str) -> str:
    """`word` as `split_words` reads it back."""
    if word and not any(character in "\"'\\#" or not "!" <= character <= "~" for character in word):
        return word
    out = []
    for byte in word.encode("utf-8", "surrogateescape"):
        character = chr(byte)
        if character in '"\\':
            out.append("\\" + character)
        elif " " <= character <= "~":
            out.append(character)
        else:
            out.append(f"\\x{byte:02x}")
    return '"' + "".join(out) + '"'


def parse_lines(text: str, source: str) -> list[Setting]:
    """The settings of a file's text. ConfigError names `source` and the line."""
    settings: list[Setting] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = split_words(line)
        where = f"{source}, line {number}"
        if not words:
            raise ConfigError(where, "unbalanced quotes")
        name = words[0].lower()
        if name in _SET_AT_START:
            raise ConfigError(where, f"'{name}' is not supported")
        try:
            Config().apply([(name, words[1:])])  # on its own, so that the line can be named
        except UnknownSettingError as error:
            raise ConfigError(where, f"there is no setting '{name}'") from error
        except ConfigError as error:
            raise ConfigError(where, f"{name}: {error.reason}") from error
        settings.append((name, words[1:]))
    return settings


def read_file(path: Path) -> list[Setting]:
    """The settings of a file."""
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigError(str(path), f"can't read it: {error.strerror or error}") from error
    return parse_lines(text, str(path))


def parse_command_line(argv: Sequence[str]) -> tuple[Path | None, list[Setting]]:
    """`[FILE] [--name value ...] ...` as redis-server takes it: the file, and the settings.

    The words after a name, up to the next `--name`, are its value; `--name=value` works too.
    """
    rest = list(argv)
    path = Path(rest.pop(0)) if rest and not rest[0].startswith("--") else None
    settings: list[Setting] = []
    for argument in rest:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            settings.append((name.lower(), [value] if equals else []))
        elif not settings:
            raise ConfigError(argument, "a setting begins with --")
        else:
            settings[-1][1].append(argument)
    for name, words in settings:
        if not words:
            raise ConfigError(name, "wrong number of arguments")
    return path, settings


def load(file_path: Path | None = None, overrides: Pairs = ()) -> Config:
    """Settings of a file (None: defaults), then `overrides`; ConfigError says what is wrong."""
    config = Config(file_path)
    if file_path is not None:
        config.apply(read_file(file_path))
    config.apply(overrides)
    return config


def rewrite_file(config: Config) -> None:
    """Write the present values into the file the server was started with. Raises OSError."""
    path = config.file_path
    if path is None:
        raise ConfigError("file", "The server is running without a config file")
    old = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
    _replace(path, rewrite_text(old, config))


def rewrite_text(old: str, config: Config) -> str:
    """`old` with the present values; every line that is no setting stays."""
    lines: list[str] = []
    written: set[str] = set()
    for line in old.removesuffix("\n").split("\n") if old else ():
        words = split_words(line) if line.strip() and not line.lstrip().startswith("#") else None
        name = ALIASES.get(words[0].lower(), words[0].lower()) if words else ""
        if name not in OPTIONS:
            lines.append(line)
        elif name not in written:
            written.add(name)
            lines.append(_line(config, name))
    added = [
        name
        for name, option in OPTIONS.items()
        if name not in written and config.value(name) != option.default
    ]
    if added and _REWRITE_HEADER not in lines:
        lines.append(_REWRITE_HEADER)
    lines.extend(_line(config, name) for name in added)
    return "".join(f"{line}\n" for line in lines)


def _line(config: Config, name: str) -> str:
    shown = config.show(name)
    words = shown.split() if OPTIONS[name].kind.multiple and shown else [shown]
    return " ".join([name, *map(quote_word, words)])


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
