"""Points on the earth as scores of a sorted set, and the areas that cover a shape.

A score is 52 bits, those of longitude and latitude in turn, the longitude's first:

    x y x y x y ... (26 pairs)      a prefix of 2 * step bits is a cell: scores within
                                    [prefix << 52 - 2 * step, prefix + 1 << 52 - 2 * step)

A search covers its shape with a cell and those of its eight neighbours that are needed, then tests
each point in them. Cells, their order and the arithmetic are Redis', so that scores, distances and
the order of unsorted replies are the same. Pure functions; they know no sorted set and no reply.
"""

from math import asin, cos, isinf, nan, pi, sin, sqrt
from typing import Final, NamedTuple

LONGITUDE_MAX: Final = 180.0
LATITUDE_MAX: Final = 85.05112878  # the square Mercator map ends there
STEP_MAX: Final = 26  # bits of each coordinate
_STANDARD_LATITUDE_MAX: Final = 90.0
_EARTH_RADIUS_M: Final = 6372797.560856
_MERCATOR_MAX_M: Final = 20037726.37
_RADIANS: Final = pi / 180.0
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"
_LONGITUDE_BITS: Final = 0xAAAAAAAAAAAAAAAA
_LATITUDE_BITS: Final = 0x5555555555555555
_WORD: Final = 0xFFFFFFFF
_LONG: Final = 0xFFFFFFFFFFFFFFFF
_SPREADS: Final = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)
_GATHERS: Final = (
    (1, 0x3333333333333333),
    (2, 0x0F0F0F0F0F0F0F0F),
    (4, 0x00FF00FF00FF00FF),
    (8, 0x0000FFFF0000FFFF),
    (16, 0x00000000FFFFFFFF),
)


class Cell(NamedTuple):
    """A prefix of 2 * step bits."""

    bits: int
    step: int


class Area(NamedTuple):
    """The edges of a cell, in degrees."""

    west: float
    south: float
    east: float
    north: float


class Shape(NamedTuple):
    """What is searched: a circle, or a box (its radius unused), around a point. In metres."""

    longitude: float
    latitude: float
    radius_m: float = 0.0
    width_m: float = 0.0
    height_m: float = 0.0
    is_box: bool = False

    def distance_within(self, longitude: float, latitude: float) -> float | None:
        """How far a point is from the centre, None where it is outside."""
        if not self.is_box:
            away_m = distance_m(self.longitude, self.latitude, longitude, latitude)
            return away_m if away_m <= self.radius_m else None
        if _latitude_distance_m(latitude, self.latitude) > self.height_m / 2:
            return None
        if distance_m(longitude, latitude, self.longitude, latitude) > self.width_m / 2:
            return None
        return distance_m(self.longitude, self.latitude, longitude, latitude)


def _interleave(latitude: int, longitude: int) -> int:
    for shift, mask in _SPREADS:
        latitude = (latitude | latitude << shift) & mask
        longitude = (longitude | longitude << shift) & mask
    return latitude | longitude << 1


def _gather(bits: int) -> int:
    """Every other bit, from the lowest on, moved together."""
    bits &= _LATITUDE_BITS
    for shift, mask in _GATHERS:
        bits = (bits | bits >> shift) & mask
    return bits


def encode(
    longitude: float, latitude: float, step: int = STEP_MAX, latitude_max: float = LATITUDE_MAX
) -> int:
    """The bits of a point; the caller knows that it is on the map."""
    latitude_share = (latitude + latitude_max) / (2 * latitude_max)
    longitude_share = (longitude + LONGITUDE_MAX) / (2 * LONGITUDE_MAX)
    scale = 1 << step
    return _interleave(int(latitude_share * scale) & _WORD, int(longitude_share * scale) & _WORD)


def area_of(cell: Cell) -> Area:
    """The edges of a cell."""
    bits, step = cell
    latitude, longitude = _gather(bits), _gather(bits >> 1)
    scale = float(1 << step)
    height, width = 2 * LATITUDE_MAX, 2 * LONGITUDE_MAX
    return Area(
        west=-LONGITUDE_MAX + longitude / scale * width,
        south=-LATITUDE_MAX + latitude / scale * height,
        east=-LONGITUDE_MAX + (longitude + 1 & _WORD) / scale * width,
        north=-LATITUDE_MAX + (latitude + 1 & _WORD) / scale * height,
    )


def decode(score: float) -> tuple[float, float]:
    """Longitude and latitude of a score; of one that is no point, somewhere on the map."""
    west, south, east, north = area_of(Cell(_bits_of(score), STEP_MAX))
    longitude, latitude = (west + east) / 2, (south + north) / 2
    return (
        max(min(longitude, LONGITUDE_MAX), -LONGITUDE_MAX),
        max(min(latitude, LATITUDE_MAX), -LATITUDE_MAX),
    )


def _bits_of(score: float) -> int:
    """A score as 64 bits, as a processor converts it where it does not fit."""
    if -(2.0**63) <= score < 2.0**64:
        return int(score) & _LONG
    return 0 if score > 0 else 1 << 63


def text_of(score: float) -> bytes:
    """The standard geohash, 11 characters, whose latitudes reach from pole to pole."""
    longitude, latitude = decode(score)
    bits = encode(longitude, latitude, STEP_MAX, _STANDARD_LATITUDE_MAX)
    indexes = [bits >> shift & 31 for shift in range(2 * STEP_MAX - 5, 0, -5)]
    return bytes([_ALPHABET[index] for index in indexes]) + b"0"  # 52 bits are not enough for 11


def _latitude_distance_m(first: float, second: float) -> float:
    return _EARTH_RADIUS_M * abs(second * _RADIANS - first * _RADIANS)


def distance_m(
    longitude: float, latitude: float, other_longitude: float, other_latitude: float
) -> float:
    """The great-circle distance of two points, by the haversine formula."""
    across = sin((other_longitude * _RADIANS - longitude * _RADIANS) / 2)
    if across == 0.0:
        return _latitude_distance_m(latitude, other_latitude)
    first, second = latitude * _RADIANS, other_latitude * _RADIANS
    along = sin((second - first) / 2)
    squared = along * along + cos(first) * cos(second) * across * across
    return 2.0 * _EARTH_RADIUS_M * asin(sqrt(min(squared, 1.0)))


# -- which cells cover a shape -----------------------------------------------------------------


def _bounds_of(shape: Shape) -> Area:
    """The box in degrees around a shape: wider where parallels are shorter."""
    if shape.is_box:
        height_m, width_m = shape.height_m / 2, shape.width_m / 2
    else:
        height_m = width_m = shape.radius_m
    latitude = shape.latitude
    high = height_m / _EARTH_RADIUS_M / _RADIANS
    edge = latitude - high if latitude < 0 else latitude + high
    shrink = nan if isinf(edge) else cos(edge * _RADIANS)
    wide = width_m / _EARTH_RADIUS_M / shrink / _RADIANS
    longitude = shape.longitude
    return Area(longitude - wide, latitude - high, longitude + wide, latitude + high)


def _step_for(radius_m: float, latitude: float) -> int:
    """How long a prefix makes cells that are not much larger than the radius."""
    if radius_m == 0:
        return STEP_MAX
    step = 1
    while radius_m < _MERCATOR_MAX_M:
        radius_m *= 2
        step += 1
    step -= 2
    if abs(latitude) > 66:  # cells get narrow towards the poles
        step -= 2 if abs(latitude) > 80 else 1
    return min(max(step, 1), STEP_MAX)


def _moved(cell: Cell, east: int, north: int) -> Cell:
    """The neighbour so many cells away; the map is round in both directions."""
    bits, step = cell
    unused = 64 - 2 * step
    x, y = bits & _LONGITUDE_BITS, bits & _LATITUDE_BITS
    x_gaps, y_gaps = _LATITUDE_BITS >> unused, _LONGITUDE_BITS >> unused
    if east:  # a carry runs through the gaps that the other coordinate's bits leave
        x = x + x_gaps + 1 if east > 0 else (x | x_gaps) - (x_gaps + 1)
        x &= _LONGITUDE_BITS >> unused
    if north:
        y = y + y_gaps + 1 if north > 0 else (y | y_gaps) - (y_gaps + 1)
        y &= _LATITUDE_BITS >> unused
    return Cell(x | y, step)


def covering(shape: Shape) -> list[tuple[float, float]]:
    """The ranges of scores, lower end included, that hold every point of a shape.

    In the order in which Redis looks at them; neighbours that are not needed are left out.
    """
    bounds = _bounds_of(shape)
    if shape.is_box:
        radius_m = sqrt(
            (shape.width_m / 2) * (shape.width_m / 2) + (shape.height_m / 2) * (shape.height_m / 2)
        )
    else:
        radius_m = shape.radius_m
    step = _step_for(radius_m, shape.latitude)
    centre = Cell(encode(shape.longitude, shape.latitude, step), step)
    if step > 1 and not _neighbours_reach(centre, bounds):
        step -= 1
        centre = Cell(encode(shape.longitude, shape.latitude, step), step)
    area = area_of(centre)
    skipped: set[tuple[int, int]] = set()  # directions that the shape does not reach
    if step > 1:
        if area.south < bounds.south:
            skipped |= {(0, -1), (-1, -1), (1, -1)}
        if area.north > bounds.north:
            skipped |= {(0, 1), (-1, 1), (1, 1)}
        if area.west < bounds.west:
            skipped |= {(-1, 0), (-1, -1), (-1, 1)}
        if area.east > bounds.east:
            skipped |= {(1, 0), (1, -1), (1, 1)}
    order = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
    cells = [centre]
    last: Cell | None = None
    for direction in order:
        cell = _moved(centre, *direction)
        # of huge cells there are so few that neighbours are the same
        if direction not in skipped and cell != last:
            cells.append(cell)
            last = cell
    return [_scores_of(cell) for cell in cells]


def _neighbours_reach(centre: Cell, bounds: Area) -> bool:
    """Whether the cells around `centre` reach as far as the shape does."""
    return (
        area_of(_moved(centre, 0, 1)).north >= bounds.north
        and area_of(_moved(centre, 0, -1)).south <= bounds.south
        and area_of(_moved(centre, 1, 0)).east >= bounds.east
        and area_of(_moved(centre, -1, 0)).west <= bounds.west
    )


def _scores_of(cell: Cell) -> tuple[float, float]:
    shift = 2 * (STEP_MAX - cell.step)
    return float(cell.bits << shift), float(cell.bits + 1 << shift)
