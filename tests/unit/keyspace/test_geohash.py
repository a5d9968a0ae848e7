"""Points, cells and shapes. Reference values are a real Redis' and the documentation's."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotplate.keyspace.geohash import (
    LATITUDE_MAX,
    Cell,
    Shape,
    area_of,
    covering,
    decode,
    distance_m,
    encode,
    text_of,
)

PALERMO = (13.361389, 38.115556)
CATANIA = (15.087269, 37.502669)
longitudes = st.floats(-180, 179.99)  # at the very edge a score has more bits than a double
latitudes = st.floats(-LATITUDE_MAX, 85.05)


@pytest.mark.parametrize(
    ("point", "bits", "text"),
    [
        (PALERMO, 3479099956230698, b"sqc8b49rny0"),
        (CATANIA, 3479447370796909, b"sqdtr74hyu0"),
        ((0.0, 0.0), 3377699720527872, b"s0000000000"),
    ],
)
def test_scores_are_those_of_redis(point: tuple[float, float], bits: int, text: bytes) -> None:
    assert encode(*point) == bits
    assert text_of(float(bits)) == text


def test_distances_are_those_of_the_documentation() -> None:
    palermo, catania = decode(float(encode(*PALERMO))), decode(float(encode(*CATANIA)))
    assert f"{distance_m(*palermo, *catania):.4f}" == "166274.1516"
    assert distance_m(*palermo, *palermo) == 0
    assert distance_m(0, 0, 0, 1) == pytest.approx(111226.3, rel=1e-4)
    assert distance_m(0, 0, 180, 0) == pytest.approx(math.pi * 6372797.560856)


@given(longitudes, latitudes)
def test_a_score_decodes_to_within_a_cell(longitude: float, latitude: float) -> None:
    found_longitude, found_latitude = decode(float(encode(longitude, latitude)))
    assert abs(found_longitude - longitude) <= 360 / 2**26
    assert abs(found_latitude - latitude) <= 2 * LATITUDE_MAX / 2**26


@pytest.mark.parametrize("score", [-1.0, 2.0**63, 2.0**64, -1e300, math.inf, -math.inf, 1.5])
def test_a_score_that_is_no_point_is_still_on_the_map(score: float) -> None:
    longitude, latitude = decode(score)
    assert -180 <= longitude <= 180
    assert -LATITUDE_MAX <= latitude <= LATITUDE_MAX


def test_the_world_is_four_cells_of_one_step() -> None:
    assert [area_of(Cell(bits, 1))[:2] for bits in range(4)] == [
        (-180, -LATITUDE_MAX),
        (-180, 0),
        (0, -LATITUDE_MAX),
        (0, 0),
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.floats(-170, 170),
    st.floats(-75, 75),
    st.floats(1, 500_000),
    st.floats(0, 1),
    st.floats(0, 2 * math.pi),
    st.booleans(),
)
def test_every_point_of_a_shape_is_in_its_cells(
    longitude: float, latitude: float, size_m: float, share: float, angle: float, is_box: bool
) -> None:
    box = {"width_m": 2 * size_m, "height_m": 2 * size_m}
    shape = (
        Shape(longitude, latitude, is_box=True, **box)
        if is_box
        else Shape(longitude, latitude, radius_m=size_m)
    )
    north = latitude + math.degrees(share * size_m / 6372797.560856) * math.sin(angle)
    shrunk = math.cos(math.radians(north))
    east = longitude + math.degrees(share * size_m / 6372797.560856) * math.cos(angle) / shrunk
    if abs(east) > 180 or abs(north) > LATITUDE_MAX or shape.distance_within(east, north) is None:
        return
    score = float(encode(east, north))
    assert any(low <= score < high for low, high in covering(shape))


@pytest.mark.parametrize("radius_m", [0.0, 1e9, 1e308, math.inf])
def test_any_radius_has_cells(radius_m: float) -> None:
    cells = covering(Shape(0.1, 85.0, radius_m=radius_m))
    assert 1 <= len(cells) <= 9
    assert all(low < high for low, high in cells)


def test_a_box_is_measured_along_both_axes() -> None:
    box = Shape(0, 0, width_m=250_000, height_m=100_000, is_box=True)
    assert box.distance_within(1, 0) == pytest.approx(111226, rel=1e-4)
    assert box.distance_within(0, 1) is None
    assert box.distance_within(2, 0) is None
