"""What the commands on points share: points, distances and units in text, and their syntax.

Must know no command. Parsers raise CommandError and change nothing.
"""

from typing import Any, Final

from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.geohash import LATITUDE_MAX, LONGITUDE_MAX
from hotplate.resp.types import Raw
from hotplate.spec.args import parse_float
from hotplate.spec.model import Arg, oneof, token

UNIT: Final[Arg] = oneof("unit", token("M"), token("KM"), token("FT"), token("MI"))
_UNITS_M: Final = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}


def parse_point(longitude_text: bytes, latitude_text: bytes) -> tuple[float, float]:
    """Longitude and latitude, which must be on the map."""
    longitude, latitude = parse_float(longitude_text), parse_float(latitude_text)
    if abs(longitude) > LONGITUDE_MAX or abs(latitude) > LATITUDE_MAX:
        raise CommandError(f"invalid longitude,latitude pair {longitude:f},{latitude:f}")
    return longitude, latitude


def parse_unit(text: bytes) -> float:
    """How many metres a unit has."""
    unit_m = _UNITS_M.get(text.upper())
    if unit_m is None:
        raise CommandError("unsupported unit provided. please use M, KM, FT, MI")
    return unit_m


def parse_radius(text: bytes, unit: bytes) -> tuple[float, float]:
    """A radius in its unit, and how many metres that has."""
    radius = parse_float(text, "need numeric radius")
    if radius < 0:
        raise CommandError("radius cannot be negative")
    return radius, parse_unit(unit)


def parse_box(width_text: bytes, height_text: bytes, unit: bytes) -> tuple[float, float, float]:
    """Width and height in their unit, and how many metres that has."""
    width = parse_float(width_text, "need numeric width")
    height = parse_float(height_text, "need numeric height")
    if width < 0 or height < 0:
        raise CommandError("height or width cannot be negative")
    return width, height, parse_unit(unit)


def distance_text(distance: float) -> bytes:
    """A distance with four digits behind the point: a bulk string in both protocols."""
    return b"%.4f" % distance


def coordinates_reply(ctx: Context, longitude: float, latitude: float) -> list[Any]:
    """A point as two numbers, with as many digits as they have, up to 17 behind the point."""
    texts = [(b"%.17f" % value).rstrip(b"0").rstrip(b".") for value in (longitude, latitude)]
    return [Raw(b",%b\r\n" % text) for text in texts] if ctx.resp == 3 else texts
