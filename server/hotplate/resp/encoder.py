"""Reply values to frames, in RESP2 and RESP3.

    encode(reply, version, append) ─► table of the version [type(reply)] ─► append(frame) ...

Two tables, one per version, hold a function for each type of `hotplate.resp.types`; where RESP2
lacks a type its table names what is written instead. Exact types only: `bool`, `str` and every
other type raise TypeError, for a reply that has to be guessed is a bug of its handler. Nothing is
appended for a reply whose own type is refused; of an aggregate the frames before the refused item
may be. Views of a Payload are appended as they are, never copied.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from operator import itemgetter
from typing import Any, Final, TypeAlias

from hotplate.errors import CODES, CommandError
from hotplate.resp import shared
from hotplate.resp.shared import (
    ARRAY_HEADERS,
    BULK_HEADERS,
    CRLF,
    INTEGERS,
    NEXT_BULK_HEADERS,
)
from hotplate.resp.types import (
    EMPTY_ARRAY,
    Bool,
    Double,
    Frames,
    Map,
    NullArray,
    Payload,
    Payloads,
    Push,
    Raw,
    Reply,
    Set,
    Simple,
    Verbatim,
)

__all__ = ["BULK_HEADERS", "INTEGERS", "bulk_array", "bulks", "encode", "ready"]

Append: TypeAlias = Callable[[Any], object]
_Encoder: TypeAlias = Callable[[Any, int, Append], None]

_HEADERS_END: Final = len(BULK_HEADERS)
_COUNTS_END: Final = len(ARRAY_HEADERS)
_INTEGERS_END: Final = len(INTEGERS)
RAW_BYTES_MAX: Final = 4096  # of frames that are not counted against what one pass may answer
_MANY: Final = 8  # items from which on it pays to look at all of them first
_WHOLE_MAX: Final = 2.0**62  # up to it, Redis prints a whole number as an integer
_ZEROS_MAX: Final = 7  # how far the point may stand from the digits
_WHOLE_DIGITS_MAX: Final = 4


def encode(reply: Reply, version: int, append: Append) -> None:
    """Append the frames of `reply` in RESP `version` (2 or 3): bytes, and views of payloads."""
    encoder = _TABLES[version].get(type(reply))
    if encoder is None:
        encoder = _subclass_encoder(reply, version)
    encoder(reply, version, append)


def _subclass_encoder(reply: Reply, version: int) -> _Encoder:
    # errors are the one open family: those of CODES are in the tables, a test's own need not be
    if isinstance(reply, CommandError):
        return _error
    raise TypeError(f"not a reply: {reply!r:.100} of type {type(reply).__name__}")


def double_text(value: float) -> bytes:
    """A double as Redis prints it since 7.2: the fewest digits that read back as `value`.

    Without an exponent where that adds at most seven zeros behind the digits, six before them, or
    the number has at most four digits before the point; else as `1.5e+21`. A whole number up to
    2**62 is simply itself.
    """
    if -_WHOLE_MAX <= value <= _WHOLE_MAX:
        whole = int(value)
        if whole == value:
            return b"%d" % whole if whole or str(value) == "0.0" else b"-0"
    elif not isfinite(value):
        return b"nan" if value != value else b"inf" if value > 0 else b"-inf"
    mantissa, _, exponent_text = repr(value).lstrip("-").partition("e")
    whole_digits, _, fraction = mantissa.partition(".")
    digits = (whole_digits + fraction).lstrip("0")
    exponent = int(exponent_text or 0) - len(fraction)  # of the last digit
    significant = digits.rstrip("0")
    exponent += len(digits) - len(significant)
    magnitude = abs(exponent + len(significant) - 1)
    sign = "-" if value < 0 else ""
    if exponent >= 0 and magnitude < len(significant) + _ZEROS_MAX:
        text = significant + "0" * exponent
    elif exponent < 0 and (exponent > -_ZEROS_MAX or magnitude < _WHOLE_DIGITS_MAX):
        padded = significant.rjust(1 - exponent, "0")
        text = f"{padded[:exponent]}.{padded[exponent:]}"
    else:
        text = f"{significant[0]}.{significant[1:]}" if len(significant) > 1 else significant
        text += f"e{exponent + len(significant) - 1:+d}"
    return (sign + text).encode()


def double_texts(values: list[float]) -> list[bytes]:
    """`double_text` of many; none is NaN."""
    try:
        wholes = list(map(int, values))
    except OverflowError:  # an infinity
        return list(map(double_text, values))
    if wholes == values and values and -_WHOLE_MAX <= min(values) <= max(values) <= _WHOLE_MAX:
        return str(wholes)[1:-1].encode().split(b", ")
    return list(map(double_text, values))


# -- one function per way of writing; aggregates look into the table for what they hold ----------


def _raw(reply: bytes, version: int, append: Append) -> None:
    append(reply)


def _bulk(reply: bytes, version: int, append: Append) -> None:
    size = len(reply)
    append(BULK_HEADERS[size] if size < _HEADERS_END else b"$%d\r\n" % size)
    append(reply)
    append(CRLF)


def _integer(reply: int, version: int, append: Append) -> None:
    append(INTEGERS[reply] if 0 <= reply < _INTEGERS_END else b":%d\r\n" % reply)


def _null(reply: None, version: int, append: Append) -> None:
    append(shared.NULL_BULK if version == 2 else shared.NULL)


def _null_array(reply: NullArray, version: int, append: Append) -> None:
    append(shared.NULL_ARRAY if version == 2 else shared.NULL)


def _simple(reply: Simple, version: int, append: Append) -> None:
    append(b"+%b\r\n" % reply)


def _error(reply: CommandError, version: int, append: Append) -> None:
    append(reply.frame)


def _array(reply: list[Any] | tuple[Any, ...], version: int, append: Append) -> None:
    count = len(reply)
    append(ARRAY_HEADERS[count] if count < _COUNTS_END else b"*%d\r\n" % count)
    _items(reply, version, append)


def _set(reply: Set, version: int, append: Append) -> None:
    append(b"~%d\r\n" % len(reply))
    _items(reply, version, append)


def _push(reply: Push, version: int, append: Append) -> None:
    append(b">%d\r\n" % len(reply))
    _items(reply, version, append)


def _map(reply: Map, version: int, append: Append) -> None:
    append(b"%%%d\r\n" % len(reply))
    _pairs(reply, version, append)


def _flat_map(reply: Map, version: int, append: Append) -> None:
    append(b"*%d\r\n" % (2 * len(reply)))
    _pairs(reply, version, append)


def _items(items: Sequence[Any], version: int, append: Append) -> None:
    if len(items) >= _MANY and list(map(type, items)).count(bytes) == len(items):
        append(bulks(items))
        return
    table = _TABLES[version]
    for item in items:
        kind = type(item)
        if kind is bytes:
            size = len(item)
            append(BULK_HEADERS[size] if size < _HEADERS_END else b"$%d\r\n" % size)
            append(item)
            append(CRLF)
        else:
            encoder = table.get(kind) or _subclass_encoder(item, version)
            encoder(item, version, append)


def bulks(items: Sequence[bytes], header: bytes = b"") -> bytes:
    """`header`, then at least one bulk string and nothing else, made by loops that are not ours."""
    sizes = list(map(len, items))
    first, count = sizes[0], len(sizes)
    if first == sizes[-1] and first < _HEADERS_END and sizes.count(first) == count:
        return header + BULK_HEADERS[first] + NEXT_BULK_HEADERS[first].join(items) + CRLF
    pieces = [CRLF] * (2 * count + 1)
    pieces[:-1:2] = headers = _headers_between(sizes)
    pieces[1::2] = items
    pieces[0] = header + headers[0][2:]
    return b"".join(pieces)


def bulk_array(items: Sequence[bytes]) -> bytes:
    """The frames of an array of bulk strings and nothing else."""
    count = len(items)
    if 0 < count < _COUNTS_END:
        return bulks(items, ARRAY_HEADERS[count])
    return bulks(items, b"*%d\r\n" % count) if count else EMPTY_ARRAY


def ready(frames: bytes) -> Raw | Frames:
    """Frames as a reply; large ones are counted against what one pass may answer."""
    return Raw(frames) if len(frames) <= RAW_BYTES_MAX else Frames(frames)


def _headers_between(sizes: list[int]) -> Sequence[bytes]:
    """For each size the end of what comes before and the header of a bulk string."""
    try:
        if len(sizes) > 1:  # of one, itemgetter makes no tuple
            headers: tuple[bytes, ...] = itemgetter(*sizes)(NEXT_BULK_HEADERS)
            return headers
    except IndexError:
        pass
    return [b"\r\n$%d\r\n" % size for size in sizes]


def _pairs(pairs: Mapping[Any, Any], version: int, append: Append) -> None:
    for key, value in pairs.items():
        encode(key, version, append)
        encode(value, version, append)


def _double(reply: Double, version: int, append: Append) -> None:
    append(b",%b\r\n" % double_text(reply))


def _double_bulk(reply: Double, version: int, append: Append) -> None:
    _bulk(double_text(reply), version, append)


def _bool(reply: Bool, version: int, append: Append) -> None:
    append(b"#t\r\n" if reply.value else b"#f\r\n")


def _bool_integer(reply: Bool, version: int, append: Append) -> None:
    append(b":1\r\n" if reply.value else b":0\r\n")


def _verbatim(reply: Verbatim, version: int, append: Append) -> None:
    size = len(reply.text) + len(reply.format) + 1
    append(b"=%d\r\n%b:%b\r\n" % (size, reply.format, reply.text))


def _verbatim_bulk(reply: Verbatim, version: int, append: Append) -> None:
    _bulk(reply.text, version, append)


def _payload(reply: Payload, version: int, append: Append) -> None:
    append(b"$%d\r\n" % reply.size)
    for view in reply.views:
        append(view)
    append(CRLF)


_RESP3: Final[dict[type, _Encoder]] = {
    Raw: _raw,
    Frames: _raw,
    bytes: _bulk,
    int: _integer,
    type(None): _null,
    list: _array,
    tuple: _array,
    Simple: _simple,
    Map: _map,
    Set: _set,
    Double: _double,
    Bool: _bool,
    Verbatim: _verbatim,
    Push: _push,
    NullArray: _null_array,
    Payload: _payload,
    Payloads: _array,
    **dict.fromkeys(CODES.values(), _error),
}
_RESP2_DOWNGRADES: Final[dict[type, _Encoder]] = {
    Map: _flat_map,
    Set: _array,
    Double: _double_bulk,
    Bool: _bool_integer,
    Verbatim: _verbatim_bulk,
    Push: _array,
}
_TABLES: Final[dict[int, dict[type, _Encoder]]] = {2: _RESP3 | _RESP2_DOWNGRADES, 3: _RESP3}
