"""The 80-bit floating-point numbers of C on x86, which INCRBYFLOAT counts in.

A number is an exact Fraction that 64 bits of mantissa can hold, or an infinite float. Knows nothing
of keys and replies; the texts are those of `strtold` and of Redis' `%.17Lf` without trailing zeros.
"""

import re
from fractions import Fraction
from typing import Final, TypeAlias

LongDouble: TypeAlias = Fraction | float

TEXT_BYTES_MAX: Final = 5 * 1024 - 1  # longer numbers are refused, as in Redis
_MANTISSA_BITS: Final = 64
_EXPONENT_MAX: Final = 16383
_QUANTUM_EXPONENT_MIN: Final = -16445  # of the smallest number above zero
_DECIMAL_EXPONENT_MAX: Final = 5200  # beyond it any text of at most 5 KiB over- or underflows
LARGEST: Final = Fraction(2) ** (_EXPONENT_MAX + 1) - Fraction(2) ** (
    _EXPONENT_MAX + 1 - _MANTISSA_BITS
)
_FRACTION_DIGITS: Final = 17
_LOW_DIGITS: Final = 4000
_LOW_END: Final[int] = 10**_LOW_DIGITS

_DECIMAL: Final = re.compile(rb"([+-]?)(?=\.?[0-9])([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?")
_HEXADECIMAL: Final = re.compile(
    rb"([+-]?)0[xX](?=\.?[0-9a-fA-F])([0-9a-fA-F]*)\.?([0-9a-fA-F]*)(?:[pP]([+-]?[0-9]+))?"
)
_INFINITE: Final = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)


def read_long_double(text: bytes) -> LongDouble | None:
    """The number that all of `text` spells; None also for NaN, overflow and underflow to zero."""
    if len(text) > TEXT_BYTES_MAX:
        return None
    if match := _DECIMAL.fullmatch(text):
        digits, base, mantissa_base = 1, 10, 10
    elif match := _HEXADECIMAL.fullmatch(text):
        digits, base, mantissa_base = 4, 2, 16
    else:
        return float(text) if _INFINITE.fullmatch(text) else None
    sign, whole, part, exponent_text = match.groups()
    mantissa = _decimal_int(whole + part) if base == 10 else int(whole + part, mantissa_base)
    if mantissa == 0:
        return Fraction(0)
    exponent = int(exponent_text or b"0") - digits * len(part)
    if abs(exponent) > _DECIMAL_EXPONENT_MAX * (1 if base == 10 else 8):
        return None
    value = round_long_double(Fraction(mantissa) * Fraction(base) ** exponent)
    if value == 0 or isinstance(value, float):
        return None
    return -value if sign == b"-" else value


def round_long_double(value: Fraction) -> LongDouble:
    """The nearest number that a long double holds, ties to even; infinite beyond the largest."""
    if value == 0:
        return value
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** max(exponent - _MANTISSA_BITS + 1, _QUANTUM_EXPONENT_MIN)
    rounded = round(value / quantum) * quantum
    if abs(rounded) >= Fraction(2) ** (_EXPONENT_MAX + 1):
        return float("inf") if value > 0 else float("-inf")
    return rounded


def add_long_doubles(first: LongDouble, second: LongDouble) -> LongDouble:
    """The rounded sum; an infinite float where it is not finite, whatever its sign."""
    if isinstance(first, float) or isinstance(second, float):
        return float("inf")
    return round_long_double(Fraction(first + second))


def format_long_double(value: Fraction) -> bytes:
    """At most 17 digits after the point, no exponent, no trailing zeros, no negative zero."""
    scaled = round(abs(value) * 10**_FRACTION_DIGITS)
    digits = _decimal_text(scaled).rjust(_FRACTION_DIGITS + 1, "0")
    text = f"{digits[:-_FRACTION_DIGITS]}.{digits[-_FRACTION_DIGITS:]}".rstrip("0").rstrip(".")
    return (b"-" if value < 0 and scaled else b"") + text.encode()


# Python refuses by default to convert more than 4300 digits at once; here they are at most 5119.


def _decimal_int(digits: bytes) -> int:
    high, low = digits[:-_LOW_DIGITS], digits[-_LOW_DIGITS:]
    return int(high or b"0") * _LOW_END + int(low)


def _decimal_text(number: int) -> str:
    high, low = divmod(number, _LOW_END)
    return f"{high}{low:0{_LOW_DIGITS}d}" if high else str(low)
