"""Scripts' libraries `bit` and `struct`, and the floating-point half of `cmsgpack`.

Plain functions of bytes and numbers that know no script. Arguments come from Lua and may be of any
type; what is refused raises PackingError with the text that the C libraries have. Numbers are
doubles in Lua: an integer arrives as int where it fits one, every other as float.
"""

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

_UINT32: Final = 0xFFFFFFFF
_UINT64: Final = 0xFFFFFFFFFFFFFFFF
_SIGN32: Final = 0x80000000
_INT64_MIN: Final = -(2**63)
_HEX_DIGITS_MAX: Final = 8
_INTEGER_BYTES_MAX: Final = 32
_NATIVE_BYTES_MAX: Final = 8  # of a number; wider fields are filled with zeros
_ALIGNMENT: Final = 8
_SIZE_MAX: Final = 2**31 - 1
_SIZES: Final = {"b": 1, "h": 2, "l": 8, "t": 8, "f": 4, "d": 8, "x": 1}
_SINGLE_BYTES: Final = 4
# Lua's own values, by the names of the classes that stand for them
_LUA_OBJECTS: Final = {
    "_LuaFunction": "function",
    "_LuaCoroutineFunction": "function",
    "_LuaThread": "thread",
    "_LuaObject": "userdata",
}


class PackingError(Exception):
    """What a script did wrong. With an argument's number: which one it was."""

    def __init__(self, text: str, argument: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.argument = argument


def type_name(value: Any) -> str:
    """What Lua calls the type of a value that came from it."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, bytes):
        return "string"
    return _LUA_OBJECTS.get(type(value).__name__, "table")


def _number(values: tuple[Any, ...], index: int, first: int = 1) -> int | float:
    """A number, or text that is one."""
    value = values[index] if index < len(values) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, bytes):
        try:
            return float(value) if b"_" not in value else math.nan
        except ValueError:
            pass
    what = type_name(value) if index < len(values) else "no value"
    raise PackingError(f"number expected, got {what}", index + first)


def _integer(number: float) -> int:
    """Toward zero, within 64 bits; what does not fit is the smallest, as processors answer."""
    if isinstance(number, int):
        return number if -(2**63) <= number < 2**64 else _INT64_MIN
    if math.isnan(number) or not -(2.0**63) <= number < 2.0**64:
        return _INT64_MIN
    return int(number)


# -- bit -------------------------------------------------------------------------------------------


def _bits(values: tuple[Any, ...], index: int) -> int:
    """A number's lowest 32 bits, unsigned; halves are rounded to even."""
    number = _number(values, index)
    if isinstance(number, float):
        if math.isnan(number) or math.isinf(number):
            return 0
        number = round(number)
    return number & _UINT32


def _signed(bits: int) -> int:
    return (bits & _UINT32 ^ _SIGN32) - _SIGN32


def _fold(combine: Callable[[int, int], int]) -> Callable[..., int]:
    def run(*values: Any) -> int:
        result = _bits(values, 0)
        for index in range(1, len(values)):
            result = combine(result, _bits(values, index))
        return _signed(result)

    return run


def _shift(move: Callable[[int, int], int]) -> Callable[..., int]:
    def run(*values: Any) -> int:
        return _signed(move(_bits(values, 0), _bits(values, 1) & 31))

    return run


def _to_hex(*values: Any) -> bytes:
    bits = _bits(values, 0)
    digits = _signed(_bits(values, 1)) if len(values) > 1 else _HEX_DIGITS_MAX
    count = min(abs(digits), _HEX_DIGITS_MAX)
    text = f"{bits:08x}"[_HEX_DIGITS_MAX - count :]
    return (text.upper() if digits < 0 else text).encode()


def _rotate_left(bits: int, count: int) -> int:
    return bits << count | bits >> (32 - count)


BIT_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "tobit": lambda *values: _signed(_bits(values, 0)),
    "tohex": _to_hex,
    "bnot": lambda *values: _signed(~_bits(values, 0)),
    "band": _fold(lambda a, b: a & b),
    "bor": _fold(lambda a, b: a | b),
    "bxor": _fold(lambda a, b: a ^ b),
    "lshift": _shift(lambda bits, count: bits << count),
    "rshift": _shift(lambda bits, count: bits >> count),
    "arshift": _shift(lambda bits, count: _signed(bits) >> count),
    "rol": _shift(_rotate_left),
    "ror": _shift(lambda bits, count: _rotate_left(bits, 32 - count)),
    "bswap": lambda *values: _signed(int.from_bytes(_bits(values, 0).to_bytes(4, "little"), "big")),
}


# -- struct ----------------------------------------------------------------------------------------


class _Format:
    """A format's options one after the other, with what `<`, `>`, `=` and `!` switch."""

    def __init__(self, text: bytes) -> None:
        self._text = text.decode("latin-1")
        self._at = 0
        self.is_little = True
        self._align = 1

    def options(self) -> Iterator[tuple[str, int]]:
        """Each option that stands for data, and its size in bytes."""
        while self._at < len(self._text):
            option = self._text[self._at]
            self._at += 1
            size = self._size(option)
            if option in "<>=":
                self.is_little = option != ">"
            elif option == "!":
                align = self._digits(_ALIGNMENT)
                if align <= 0 or align & (align - 1):
                    raise PackingError(f"alignment {align} is not a power of 2")
                self._align = align
            elif option != " ":
                yield option, size

    def padding(self, option: str, size: int, at: int) -> int:
        """How many bytes must come before it so that it is aligned."""
        align = min(size, self._align)
        if align <= 1 or option in "sc" or align & (align - 1):
            return 0
        return -at % align

    def _size(self, option: str) -> int:
        lower = option.lower()
        if option in "bBhHlLTfdx":
            return _SIZES[lower]
        if option == "c":
            return self._digits(1)
        if option in "iI":
            size = self._digits(4)
            if size > _INTEGER_BYTES_MAX:
                raise PackingError(
                    f"integral size {size} is larger than limit of {_INTEGER_BYTES_MAX}"
                )
            return size
        if option in "s<>=! ":
            return 0
        raise PackingError(f"invalid format option '{option}'", 1)

    def _digits(self, otherwise: int) -> int:
        start = self._at
        while self._at < len(self._text) and self._text[self._at].isdigit():
            self._at += 1
        if start == self._at:
            return otherwise
        number = int(self._text[start : self._at])
        if number > _SIZE_MAX:
            raise PackingError("integral size overflow")
        return number


def _format_of(values: tuple[Any, ...]) -> _Format:
    if not values or not isinstance(values[0], bytes):
        what = type_name(values[0]) if values else "no value"
        raise PackingError(f"string expected, got {what}", 1)
    return _Format(values[0])


def _text(values: tuple[Any, ...], index: int) -> bytes:
    value = values[index] if index < len(values) else None
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return b"%.14g" % value
    raise PackingError(f"string expected, got {type_name(value)}", index + 1)


def _argument(values: tuple[Any, ...], index: int) -> int | float:
    return _number(values if index < len(values) else (*values, None), index)


def struct_pack(*values: Any) -> bytes:
    """struct.pack(format, value ...)"""
    pattern = _format_of(values)
    out = bytearray()
    index = 0
    for option, size in pattern.options():
        out += bytes(pattern.padding(option, size, len(out)))
        if option == "x":
            out.append(0)
            continue
        index += 1
        if option in "sc":
            text = _text(values, index)
            size = size or len(text)
            if option == "c" and len(text) < size:
                # counted as the original does, which has taken the value already
                raise PackingError("string too short", index + 2)
            out += text[:size] if option == "c" else text + b"\0"
        elif option in "fd":
            out += _pack_float(_argument(values, index), option, pattern.is_little)
        else:
            number = _integer(_argument(values, index)) & _UINT64
            narrow = (number & (1 << 8 * min(size, _NATIVE_BYTES_MAX)) - 1).to_bytes(size, "little")
            out += narrow if pattern.is_little else narrow[::-1]
    return bytes(out)


def _pack_float(number: float, option: str, is_little: bool) -> bytes:
    order = "<" if is_little else ">"
    try:
        return struct.pack(order + option, number)
    except OverflowError:
        return struct.pack(order + option, math.copysign(math.inf, number))


def struct_unpack(*values: Any) -> tuple[Any, ...]:
    """struct.unpack(format, text [, position]): the values, and where the next would begin."""
    pattern = _format_of(values)
    data = _text(values, 1)
    start = 1 if len(values) < 3 or values[2] is None else _integer(_number(values, 2))
    if start == 0:
        raise PackingError("offset must be 1 or greater", 3)
    at = start - 1
    results: list[Any] = []
    for option, size in pattern.options():
        at += pattern.padding(option, size, at)
        if at < 0 or size > len(data) or at > len(data) - size:
            raise PackingError("data string too short", 2)
        if option == "s":
            end = data.find(b"\0", at)
            if end < 0:
                raise PackingError("unfinished string in data")
            results.append(data[at:end])
            at = end + 1
            continue
        if option == "c" and size == 0:
            if not results or type_name(results[-1]) != "number":
                raise PackingError("format 'c0' needs a previous size")
            size = _integer(results.pop())
            if size < 0 or at > len(data) - size:
                raise PackingError("data string too short", 2)
        piece = data[at : at + size]
        at += size
        if option == "c":
            results.append(piece)
        elif option in "fd":
            order = "<" if pattern.is_little else ">"
            results.append(struct.unpack(order + option, piece)[0])
        elif option != "x":
            results.append(_read_integer(piece, pattern.is_little, option.islower()))
    return (*results, at + 1)


def _read_integer(piece: bytes, is_little: bool, is_signed: bool) -> int | float:
    narrow = piece[:_NATIVE_BYTES_MAX] if is_little else piece[-_NATIVE_BYTES_MAX:]
    number = int.from_bytes(narrow, "little" if is_little else "big", signed=is_signed)
    return number if number < 2**63 else float(number)


def struct_size(*values: Any) -> int:
    """struct.size(format)"""
    pattern = _format_of(values)
    at = 0
    for option, size in pattern.options():
        at += pattern.padding(option, size, at)
        if option == "s" or (option == "c" and size == 0):
            shown = "s" if option == "s" else "c0"
            raise PackingError(f"option '{shown}' has no fixed size", 1)
        at += size
    return at


# -- cmsgpack --------------------------------------------------------------------------------------


def double_bytes(number: float) -> bytes:
    """A MessagePack float: a single one where nothing is lost."""
    value = float(number)
    try:
        single = struct.pack(">f", value)
    except OverflowError:
        single = b""
    if single and struct.unpack(">f", single)[0] == value:
        return b"\xca" + single
    return b"\xcb" + struct.pack(">d", value)


def double_value(data: bytes) -> float:
    """The number of four or eight bytes."""
    value: float = struct.unpack(">f" if len(data) == _SINGLE_BYTES else ">d", data)[0]
    return value
