"""Types of settings: how a value is read from words and written back, in Redis' own texts.

A value comes as words: the arguments of a line of the configuration file, or of CONFIG SET.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

INT64_MAX: Final = 2**63 - 1
_UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1024,
    "m": 1000**2,
    "mb": 1024**2,
    "g": 1000**3,
    "gb": 1024**3,
}
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_SIZE: Final = re.compile(r"([0-9]{1,20})([a-zA-Z]*)")


class ValueRefusedError(ValueError):
    """A value that the setting can't take; the text says why, as Redis words it."""


class Kind(Protocol):
    """One type of setting."""

    @property
    def multiple(self) -> bool:
        """Whether the value may be several words."""
        ...

    def parse(self, words: Sequence[str], current: Any) -> Any:
        """The value that `words` say, or ValueRefusedError."""
        ...

    def show(self, value: Any) -> str:
        """The value as CONFIG GET tells it; `parse` reads it back."""
        ...

    def describe(self) -> str:
        """The type for the documentation."""
        ...


def _between(value: int, minimum: int, maximum: int) -> int:
    if not minimum <= value <= maximum:
        raise ValueRefusedError(f"argument must be between {minimum} and {maximum} inclusive")
    return value


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number; with `clamp` a value outside the bounds becomes the nearest one inside."""

    minimum: int = 0
    maximum: int = INT64_MAX
    clamp: bool = False
    multiple: bool = False

    def parse(self, words: Sequence[str], current: Any) -> int:
        """Decimal digits."""
        if not _INTEGER.fullmatch(words[0]):
            raise ValueRefusedError("argument couldn't be parsed into an integer")
        value = int(words[0])
        if self.clamp:
            return min(max(value, self.minimum), self.maximum)
        return _between(value, self.minimum, self.maximum)

    def show(self, value: Any) -> str:
        """Decimal digits."""
        return str(value)

    def describe(self) -> str:
        """With its bounds."""
        if self.maximum == INT64_MAX:
            return f"integer, at least {self.minimum}"
        return f"integer, {self.minimum} to {self.maximum}"


@dataclass(frozen=True, slots=True)
class Octal:
    """File permissions."""

    multiple: bool = False

    def parse(self, words: Sequence[str], current: Any) -> int:
        """Octal digits up to 777."""
        if not re.fullmatch("[0-7]{1,4}", words[0]) or int(words[0], 8) > 0o777:
            raise ValueRefusedError("argument couldn't be parsed into an integer")
        return int(words[0], 8)

    def show(self, value: Any) -> str:
        """Octal digits."""
        return f"{value:o}"

    def describe(self) -> str:
        """As `chmod` takes it."""
        return "octal permissions"


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes, with the units of Redis: 1k is 1000, 1kb is 1024."""

    minimum: int = 0
    maximum: int = INT64_MAX
    multiple: bool = False

    def parse(self, words: Sequence[str], current: Any) -> int:
        """Digits and a unit."""
        return _between(parse_size(words[0]), self.minimum, self.maximum)

    def show(self, value: Any) -> str:
        """Bytes without a unit."""
        return str(value)

    def describe(self) -> str:
        """With its least value."""
        return "bytes" if self.minimum == 0 else f"bytes, at least {self.minimum}"


def parse_size(text: str) -> int:
    """Bytes from digits and a unit (`64mb`)."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _UNITS:
        raise ValueRefusedError("argument must be a memory value")
    return int(match[1]) * _UNITS[match[2].lower()]


@dataclass(frozen=True, slots=True)
class Boolean:
    """yes or no."""

    multiple: bool = False

    def parse(self, words: Sequence[str], current: Any) -> bool:
        """In any case."""
        if words[0].lower() not in ("yes", "no"):
            raise ValueRefusedError("argument must be 'yes' or 'no'")
        return words[0].lower() == "yes"

    def show(self, value: Any) -> str:
        """yes or no."""
        return "yes" if value else "no"

    def describe(self) -> str:
        """Both values."""
        return "yes or no"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several words."""

    words: tuple[str, ...]
    multiple: bool = False

    def parse(self, words: Sequence[str], current: Any) -> str:
        """In any case."""
        if words[0].lower() not in self.words:
            known = ", ".join(self.words)
            raise ValueRefusedError(f"argument(s) must be one of the following: {known}")
        return words[0].lower()

    def show(self, value: Any) -> str:
        """The word."""
        return str(value)

    def describe(self) -> str:
        """All of them."""
        return " \\| ".join(self.words)


@dataclass(frozen=True, slots=True)
class Text:
    """Any text."""

    multiple: bool = False

    def parse(self, words: Sequence[str], current: Any) -> str:
        """As it is."""
        return words[0]

    def show(self, value: Any) -> str:
        """As it is."""
        return str(value)

    def describe(self) -> str:
        """Nothing more."""
        return "text"


@dataclass(frozen=True, slots=True)
class Words:
    """A list of words; one empty word is the empty list."""

    multiple: bool = True

    def parse(self, words: Sequence[str], current: Any) -> tuple[str, ...]:
        """Words and words inside quotes alike."""
        return tuple(part for word in words for part in word.split())

    def show(self, value: Any) -> str:
        """Joined by spaces."""
        return " ".join(value)

    def describe(self) -> str:
        """Nothing more."""
        return "list of words"


_EVENT_LETTERS: Final = "g$lshzxetd"
_EVENT_LETTERS_APART: Final = "KEmnoc"  # not part of `A`


@dataclass(frozen=True, slots=True)
class EventClasses:
    """Letters, one for each class of keyspace events."""

    multiple: bool = False

    def parse(self, words: Sequence[str], current: Any) -> str:
        """Each letter once, in one order; `A` for all that it stands for."""
        letters = set(words[0])
        if not letters <= {"A", *_EVENT_LETTERS, *_EVENT_LETTERS_APART}:
            raise ValueRefusedError("Invalid event class character. Use 'Ag$lshzxeKEtmdnoc'.")
        if "A" in letters or letters >= set(_EVENT_LETTERS):
            named = "A"
        else:
            named = "".join(letter for letter in _EVENT_LETTERS if letter in letters)
        return named + "".join(letter for letter in _EVENT_LETTERS_APART if letter in letters)

    def show(self, value: Any) -> str:
        """The letters."""
        return str(value)

    def describe(self) -> str:
        """All letters."""
        return "letters of `Ag$lshzxetdKEmnoc`"


class OutputLimit(NamedTuple):
    """How much output may wait for one class of clients; 0: any amount."""

    hard_bytes: int
    soft_bytes: int
    soft_seconds: int


class OutputLimits(NamedTuple):
    """The limits of each class of clients."""

    normal: OutputLimit
    replica: OutputLimit
    pubsub: OutputLimit


_CLASS_NAMES: Final = {"normal": "normal", "slave": "replica", "replica": "replica"} | {
    "pubsub": "pubsub"
}


@dataclass(frozen=True, slots=True)
class OutputLimitsKind:
    """`class hard soft seconds`, repeated; classes that are not named keep their limits."""

    multiple: bool = True

    def parse(self, words: Sequence[str], current: Any) -> OutputLimits:
        """Merged into `current`."""
        parts = [part for word in words for part in word.split()]
        if not parts or len(parts) % 4:
            raise ValueRefusedError("Wrong number of arguments in buffer limit configuration.")
        limits: dict[str, OutputLimit] = {}
        for at in range(0, len(parts), 4):
            name = _CLASS_NAMES.get(parts[at].lower())
            if name is None:
                raise ValueRefusedError(
                    "Invalid client class specified in buffer limit configuration."
                )
            try:
                seconds = Integer().parse([parts[at + 3]], None)
                limits[name] = OutputLimit(
                    parse_size(parts[at + 1]), parse_size(parts[at + 2]), seconds
                )
            except ValueRefusedError as error:
                raise ValueRefusedError(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                ) from error
        merged: OutputLimits = current._replace(**limits)
        return merged

    def show(self, value: Any) -> str:
        """All classes; replicas are called slaves, as Redis does."""
        return " ".join(
            f"{'slave' if name == 'replica' else name} {limit.hard_bytes} {limit.soft_bytes}"
            f" {limit.soft_seconds}"
            for name, limit in value._asdict().items()
        )

    def describe(self) -> str:
        """The form."""
        return "class hard soft seconds, repeated"


@dataclass(frozen=True, slots=True)
class SavePoints:
    """`seconds changes`, repeated; no words, or an empty one, for none.

    Lines of a file add up; a change at run time begins anew.
    """

    multiple: bool = True

    def parse(self, words: Sequence[str], current: Any) -> tuple[tuple[int, int], ...]:
        """Added to `current`."""
        parts = [part for word in words for part in word.split()]
        if not parts:
            return ()
        if len(parts) % 2:
            raise ValueRefusedError("Invalid save parameters")
        points: list[tuple[int, int]] = list(current)
        for at in range(0, len(parts), 2):
            try:
                seconds = Integer(1, INT64_MAX).parse([parts[at]], None)
                changes = Integer(0, INT64_MAX).parse([parts[at + 1]], None)
            except ValueRefusedError as error:
                raise ValueRefusedError("Invalid save parameters") from error
            points.append((seconds, changes))
        return tuple(points)

    def show(self, value: Any) -> str:
        """All of them in one line."""
        return " ".join(f"{seconds} {changes}" for seconds, changes in value)

    def describe(self) -> str:
        """The form."""
        return "seconds changes, repeated"
