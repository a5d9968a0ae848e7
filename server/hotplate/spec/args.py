"""Arguments of a command: parsing as Redis parses, and the refusals in Redis' own words.

Clients match on these texts, so each stands here once. `Args` is a cursor for commands with
options; a command with a fixed shape indexes its argv and calls the parsers.

Must not know any command. Nothing here changes state: handlers parse everything, then act.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from hotplate.errors import CommandError
from hotplate.spec.model import Command

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

NOT_AN_INTEGER: Final = "value is not an integer or out of range"
NOT_A_FLOAT: Final = "value is not a valid float"
SYNTAX_ERROR: Final = "syntax error"
NO_SUCH_KEY: Final = "no such key"
NEGATIVE_COUNT: Final = "value is out of range, must be positive"
NO_COUNT: Final = "count should be greater than 0"
NEGATIVE_LIMIT: Final = "LIMIT can't be negative"
NO_KEY_NUMBER: Final = "numkeys should be greater than 0"

_INT64_TEXT_MAX: Final = 20  # "-9223372036854775808"
_USUAL_INTEGERS: Final = {b"%d" % number: number for number in range(-128, 1025)}
_SHORT_DIGITS: Final = 10  # of a span that is surely in range
_SHOWN_BYTES_MAX: Final = 128  # of a name or of arguments in an error, as Redis
_DECIMAL: Final = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEXADECIMAL: Final = re.compile(
    rb"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
)
_INFINITE: Final = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
_NONZERO_MANTISSA: Final = re.compile(rb"[+-]?[0.]*[1-9]")


def syntax_error() -> CommandError:
    """Options that fit no form of the command."""
    return CommandError(SYNTAX_ERROR)


def wrong_arity(command: Command | bytes) -> CommandError:
    """Too few or too many arguments."""
    name = command if isinstance(command, bytes) else command.name
    return CommandError(b"wrong number of arguments for '%b' command" % name)


def unknown_command(argv: Sequence[Any]) -> CommandError:
    """No such command. Arguments are shown as far as they fit, as Redis does."""
    shown = b""
    for argument in argv[1:]:
        if len(shown) >= _SHOWN_BYTES_MAX:
            break
        shown += b"'%b' " % bytes(argument)[: _SHOWN_BYTES_MAX - len(shown)]
    name = bytes(argv[0])[:_SHOWN_BYTES_MAX]
    return CommandError(b"unknown command '%b', with args beginning with: %b" % (name, shown))


def unknown_subcommand(argv: Sequence[Any]) -> CommandError:
    """A container without that subcommand."""
    name = bytes(argv[1])[:_SHOWN_BYTES_MAX]
    container = bytes(argv[0]).upper()
    return CommandError(b"unknown subcommand '%b'. Try %b HELP." % (name, container))


def not_while_subscribed(command: Command) -> CommandError:
    """A RESP2 client that listens can send little: its replies would look like messages."""
    return CommandError(
        b"Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are"
        b" allowed in this context" % command.name
    )


def read_int(text: bytes) -> int | None:
    """A 64-bit integer in its one canonical form (no `+`, spaces, leading zeros), else None."""
    usual = _USUAL_INTEGERS.get(text)
    if usual is not None:
        return usual
    if len(text) > _INT64_TEXT_MAX:
        return None
    try:
        value = int(text)
    except ValueError:
        return None
    if b"%d" % value != text or not INT64_MIN <= value <= INT64_MAX:
        return None
    return value


def parse_int(text: bytes, message: str = NOT_AN_INTEGER) -> int:
    """A 64-bit integer, or `message` as an error."""
    value = read_int(text)
    if value is None:
        raise CommandError(message)
    return value


def parse_int_from(text: bytes, minimum: int, message: str) -> int:
    """An integer of at least `minimum`; `message` where it is less or no integer."""
    value = read_int(text)
    if value is None or value < minimum:
        raise CommandError(message)
    return value


def parse_int_between(text: bytes, minimum: int, maximum: int) -> int:
    """An integer within [minimum, maximum], refused as Redis refuses what is outside of a range."""
    value = parse_int(text)
    if not minimum <= value <= maximum:
        bounds = f"between {minimum} and {maximum}"
        raise CommandError(f"value is out of range, value must {bounds}")
    return value


def parse_int_within(text: bytes, name: str, minimum: int, maximum: int = INT64_MAX) -> int:
    """An integer within [minimum, maximum]; the error names the argument, its value and bounds."""
    value = read_int(text)
    if value is None or not minimum <= value <= maximum:
        shown = text[:_SHOWN_BYTES_MAX]
        bounds = f"at least {minimum}" if maximum == INT64_MAX else f"{minimum} to {maximum}"
        raise CommandError(
            b"%b must be an integer of %b, not '%b'" % (name.encode(), bounds.encode(), shown)
        )
    return value


def parse_bool(text: bytes, name: str) -> bool:
    """`0` or `1`."""
    if text not in (b"0", b"1"):
        raise CommandError(
            b"%b must be 0 or 1, not '%b'" % (name.encode(), text[:_SHOWN_BYTES_MAX])
        )
    return text == b"1"


def read_float(text: bytes) -> float | None:
    """A double as strtod reads it, all of `text`: no NaN, no spaces, no overflow or underflow."""
    if _DECIMAL.fullmatch(text):
        value = float(text)
        lost = value == 0.0 and _NONZERO_MANTISSA.match(text) is not None
        return None if lost or value in (float("inf"), float("-inf")) else value
    if _INFINITE.fullmatch(text):
        return float(text)
    if _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text.decode())
        except OverflowError:
            return None
    return None


def parse_float(text: bytes, message: str = NOT_A_FLOAT) -> float:
    """A double, or `message` as an error."""
    value = read_float(text)
    if value is None:
        raise CommandError(message)
    return value


def parse_timeout_s(text: bytes) -> int:
    """The timeout of a blocking command, given in seconds, as milliseconds; 0 waits for ever."""
    if len(text) < _SHORT_DIGITS and text.isdigit():
        return int(text) * 1000
    seconds = parse_float(text, "timeout is not a float or out of range")
    if seconds * 1000 > INT64_MAX:
        raise CommandError("timeout is out of range")
    if seconds < 0:
        raise CommandError("timeout is negative")
    whole_ms = int(seconds * 1000)
    return whole_ms if whole_ms == seconds * 1000 else whole_ms + 1


def parse_timeout_ms(text: bytes) -> int:
    """The timeout of a blocking command, given in milliseconds; 0 waits for ever."""
    span_ms = parse_int(text, "timeout is not an integer or out of range")
    if span_ms < 0:
        raise CommandError("timeout is negative")
    return span_ms


class Args:
    """A cursor over argv for commands with options; running out of arguments is a syntax error."""

    __slots__ = ("_argv", "_end", "_position")

    def __init__(self, argv: Sequence[bytes], start: int = 1) -> None:
        self._argv = argv
        self._position = start
        self._end = len(argv)

    def __bool__(self) -> bool:
        """Whether arguments are left."""
        return self._position < self._end

    def __len__(self) -> int:
        """How many arguments are left."""
        return self._end - self._position

    @property
    def position(self) -> int:
        """The index in argv of the next argument."""
        return self._position

    def peek(self) -> bytes | None:
        """The next argument without taking it; None at the end."""
        return self._argv[self._position] if self._position < self._end else None

    def take(self) -> bytes:
        """The next argument."""
        if self._position >= self._end:
            raise CommandError(SYNTAX_ERROR)
        argument = self._argv[self._position]
        self._position += 1
        return argument

    def take_word(self) -> bytes:
        """The next argument in upper case: an option's name."""
        return self.take().upper()

    def take_int(self, message: str = NOT_AN_INTEGER) -> int:
        """The next argument as a 64-bit integer."""
        return parse_int(self.take(), message)

    def take_int_within(self, name: str, minimum: int, maximum: int = INT64_MAX) -> int:
        """The next argument as an integer within bounds; the error names it."""
        return parse_int_within(self.take(), name, minimum, maximum)

    def take_bool(self, name: str) -> bool:
        """The next argument, `0` or `1`."""
        return parse_bool(self.take(), name)

    def take_float(self, message: str = NOT_A_FLOAT) -> float:
        """The next argument as a double."""
        return parse_float(self.take(), message)

    def take_many(self, count: int) -> list[bytes]:
        """The next `count` arguments."""
        if not 0 <= count <= self._end - self._position:
            raise CommandError(SYNTAX_ERROR)
        start = self._position
        self._position += count
        return list(self._argv[start : self._position])

    def take_rest(self) -> list[bytes]:
        """All that is left."""
        return self.take_many(self._end - self._position)

    def accept(self, word: bytes) -> bool:
        """Take the next argument if it is `word` (upper case), in any case."""
        if self._position < self._end and self._argv[self._position].upper() == word:
            self._position += 1
            return True
        return False

    def finish(self) -> None:
        """Refuse arguments that are left."""
        if self._position < self._end:
            raise CommandError(SYNTAX_ERROR)
