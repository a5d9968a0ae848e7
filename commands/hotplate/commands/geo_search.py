"""Points within a shape: GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS family.

All six are one search. It looks the index up, then reads the rest of the arguments, as Redis does:
a wrong type is told before a wrong option, and where there is no key, no member is missing in it.
"""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

from hotplate.commands.geo_forms import (
    UNIT,
    coordinates_reply,
    distance_text,
    parse_box,
    parse_point,
    parse_radius,
)
from hotplate.commands.sorted_set_forms import COUNT, store_result
from hotplate.commands.values import read_value
from hotplate.engine.context import Context
from hotplate.errors import CommandError
from hotplate.keyspace.geohash import Shape, covering, decode
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.resp.types import EMPTY_ARRAY, Reply
from hotplate.spec.args import Args, syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    double,
    integer,
    key,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import ArrayReply, BulkReply, one_of

_FOUND: Final = ArrayReply(one_of(BulkReply(), ArrayReply()))


class Point(NamedTuple):
    """A member that was found."""

    member: bytes
    score: float
    longitude: float
    latitude: float
    distance_m: float


@dataclass(slots=True)
class Search:
    """Where to look, what to answer, and whether to store it."""

    centre: tuple[float, float] | None = None
    from_member: bool = False  # stays true where there is no key to look the member up
    radius: float | None = None
    box: tuple[float, float] | None = None
    unit_m: float = 1.0
    order: bytes = b""  # ASC | DESC
    count: int = 0  # 0: all
    any_will_do: bool = False
    with_distance: bool = False
    with_hash: bool = False
    with_coordinates: bool = False
    store: bytes | None = None
    store_distance: bool = False

    def shape(self) -> Shape:
        """The shape in metres."""
        longitude, latitude = self.centre or (0.0, 0.0)
        if self.box is not None:
            width, height = (side * self.unit_m for side in self.box)
            return Shape(longitude, latitude, width_m=width, height_m=height, is_box=True)
        return Shape(longitude, latitude, radius_m=(self.radius or 0.0) * self.unit_m)


@dataclass(frozen=True, slots=True)
class _Form:
    """How one of the commands differs from the others."""

    options_at: int
    is_search: bool = False  # GEOSEARCH and GEOSEARCHSTORE say shape and centre by options
    storing: bool = False  # GEOSEARCHSTORE, or GEORADIUS without _RO


def _take_option(args: Args, search: Search, form: _Form) -> bool:
    """Take one option that every command has; whether there was one."""
    if args.accept(b"WITHDIST"):
        search.with_distance = True
    elif args.accept(b"WITHHASH"):
        search.with_hash = True
    elif args.accept(b"WITHCOORD"):
        search.with_coordinates = True
    elif args.accept(b"ANY"):
        search.any_will_do = True
    elif args.accept(b"ASC"):
        search.order = b"ASC"
    elif args.accept(b"DESC"):
        search.order = b"DESC"
    elif len(args) > 1 and args.accept(b"COUNT"):
        search.count = args.take_int()
        if search.count <= 0:
            raise CommandError("COUNT must be > 0")
    elif form.storing and form.is_search:
        if not args.accept(b"STOREDIST"):
            return False
        search.store_distance = True
    elif form.storing and len(args) > 1 and args.accept(b"STORE"):
        search.store, search.store_distance = args.take(), False
    elif form.storing and len(args) > 1 and args.accept(b"STOREDIST"):
        search.store, search.store_distance = args.take(), True
    else:
        return False
    return True


def _take_shape(args: Args, search: Search, value: SortedSet | None) -> bool:
    """Take one option that says the shape or its centre; whether there was one."""
    left = len(args) - 1
    by_point = search.centre is not None and not search.from_member
    if left >= 1 and not by_point and args.accept(b"FROMMEMBER"):
        search.from_member = True
        search.centre = _centre_of(value, args.take())
    elif left >= 2 and not search.from_member and args.accept(b"FROMLONLAT"):
        search.centre = parse_point(args.take(), args.take())
    elif left >= 2 and search.box is None and args.accept(b"BYRADIUS"):
        search.radius, search.unit_m = parse_radius(args.take(), args.take())
    elif left >= 3 and search.radius is None and args.accept(b"BYBOX"):
        width, height, search.unit_m = parse_box(args.take(), args.take(), args.take())
        search.box = (width, height)
    else:
        return False
    return True


def _centre_of(value: SortedSet | None, member: bytes) -> tuple[float, float] | None:
    """Where a member is; None where there is no key at all."""
    if value is None:
        return None
    score = value.scores.get(member)
    if score is None:
        raise CommandError("could not decode requested zset member")
    return decode(score)


def _parse_options(argv: list[bytes], search: Search, form: _Form, value: SortedSet | None) -> None:
    args = Args(argv, form.options_at)
    while args:
        if _take_option(args, search, form):
            continue
        if not form.is_search or not _take_shape(args, search, value):
            raise syntax_error()
    shown = search.with_distance or search.with_hash or search.with_coordinates
    if search.store is not None and shown:
        who = "GEOSEARCHSTORE" if form.is_search else "STORE option in GEORADIUS"
        raise CommandError(f"{who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
    if form.is_search and not search.from_member and search.centre is None:
        raise CommandError(
            b"exactly one of FROMMEMBER or FROMLONLAT can be specified for %b" % argv[0]
        )
    if form.is_search and search.radius is None and search.box is None:
        raise CommandError(b"exactly one of BYRADIUS and BYBOX can be specified for %b" % argv[0])
    if search.any_will_do and not search.count:
        raise CommandError("the ANY argument requires COUNT argument")


def _find(value: SortedSet, search: Search) -> list[Point]:
    """The points of a search, in its order, as many as are wanted."""
    shape = search.shape()
    wanted = search.count if search.any_will_do else 0
    found: list[Point] = []
    for low, high in covering(shape):
        span = value.score_span((low, high, False, True))
        pairs = zip(value.members_of(span), value.scores_of(span), strict=True)
        for member, score in pairs:
            longitude, latitude = decode(score)
            away_m = shape.distance_within(longitude, latitude)
            if away_m is not None:
                found.append(Point(member, score, longitude, latitude, away_m))
                if len(found) == wanted:
                    break
        if wanted and len(found) >= wanted:
            break
    # the nearest, unless any will do
    order = search.order or (b"ASC" if search.count and not search.any_will_do else b"")
    if order:
        found.sort(key=attrgetter("distance_m"), reverse=order == b"DESC")
    return found[: search.count] if search.count else found


def _answer(ctx: Context, value: SortedSet | None, search: Search, event: str) -> Reply:
    found = [] if value is None else _find(value, search)
    if search.store is not None:
        pairs = (
            (
                point.member,
                point.distance_m / search.unit_m if search.store_distance else point.score,
            )
            for point in found
        )
        return store_result(ctx, search.store, SortedSet.of(pairs), event)
    if not found:
        return EMPTY_ARRAY
    if not (search.with_distance or search.with_hash or search.with_coordinates):
        return [point.member for point in found]
    return [_shown(ctx, point, search) for point in found]


def _shown(ctx: Context, point: Point, search: Search) -> list[Any]:
    shown: list[Any] = [point.member]
    if search.with_distance:
        shown.append(distance_text(point.distance_m / search.unit_m))
    if search.with_hash:
        shown.append(int(point.score))
    if search.with_coordinates:
        shown.append(coordinates_reply(ctx, point.longitude, point.latitude))
    return shown


def _georadius_generic(ctx: Context, argv: list[bytes], *, storing: bool) -> Reply:
    value = read_value(ctx, argv[1], SortedSet)
    search = Search(centre=parse_point(argv[2], argv[3]))
    search.radius, search.unit_m = parse_radius(argv[4], argv[5])
    _parse_options(argv, search, _Form(6, storing=storing), value)
    return _answer(ctx, value, search, "georadiusstore")


def _georadiusbymember_generic(ctx: Context, argv: list[bytes], *, storing: bool) -> Reply:
    value = read_value(ctx, argv[1], SortedSet)
    search = Search(centre=_centre_of(value, argv[2]))
    if value is not None:
        search.radius, search.unit_m = parse_radius(argv[3], argv[4])
    _parse_options(argv, search, _Form(5, storing=storing), value)
    return _answer(ctx, value, search, "georadiusstore")


@command(
    "GEORADIUS",
    group="geo",
    since="3.2.0",
    arity=-6,
    summary=(
        "Query a sorted set representing a geospatial index to fetch members matching a given "
        "maximum distance from a point"
    ),
    complexity=(
        "O(N+log(M)) where N is the number of elements inside the bounding box of the "
        "circular area delimited by center and radius and M is the number of items inside the "
        "index."
    ),
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=(
        Keys(),
        Keys(keyword="STORE", start_from=6, flags=("OW", "UPDATE")),
        Keys(keyword="STOREDIST", start_from=6, flags=("OW", "UPDATE")),
    ),
    args=(
        key(),
        double("longitude"),
        double("latitude"),
        double("radius"),
        UNIT,
        token("WITHCOORD", optional=True),
        token("WITHDIST", optional=True),
        token("WITHHASH", optional=True),
        block(
            "count",
            integer("count", token="COUNT"),
            token("ANY", optional=True, since="6.2.0"),
            optional=True,
        ),
        oneof("order", token("ASC"), token("DESC"), optional=True),
        key(index=1, token="STORE", optional=True),
        key(index=2, token="STOREDIST", optional=True),
    ),
    reply=one_of(_FOUND, COUNT),
    acl_categories=("geo",),
    history=(
        ("6.2.0", "Added the `ANY` option for `COUNT`."),
        ("7.0.0", "Added support for uppercase unit names."),
    ),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
)
def georadius(ctx: Context, argv: list[bytes]) -> Reply:
    """GEORADIUS key longitude latitude radius unit [option ...] [STORE key | STOREDIST key]"""
    return _georadius_generic(ctx, argv, storing=True)


@command(
    "GEORADIUS_RO",
    group="geo",
    since="3.2.10",
    arity=-6,
    summary="A read-only variant for GEORADIUS",
    complexity=(
        "O(N+log(M)) where N is the number of elements inside the bounding box of the "
        "circular area delimited by center and radius and M is the number of items inside the "
        "index."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        double("longitude"),
        double("latitude"),
        double("radius"),
        UNIT,
        token("WITHCOORD", optional=True),
        token("WITHDIST", optional=True),
        token("WITHHASH", optional=True),
        block(
            "count",
            integer("count", token="COUNT"),
            token("ANY", optional=True, since="6.2.0"),
            optional=True,
        ),
        oneof("order", token("ASC"), token("DESC"), optional=True),
    ),
    reply=_FOUND,
    acl_categories=("geo",),
    history=(("6.2.0", "Added the `ANY` option for `COUNT`."),),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` argument",
)
def georadius_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """GEORADIUS_RO key longitude latitude radius unit [option ...]"""
    return _georadius_generic(ctx, argv, storing=False)


@command(
    "GEORADIUSBYMEMBER",
    group="geo",
    since="3.2.0",
    arity=-5,
    summary=(
        "Query a sorted set representing a geospatial index to fetch members matching a given "
        "maximum distance from a member"
    ),
    complexity=(
        "O(N+log(M)) where N is the number of elements inside the bounding box of the "
        "circular area delimited by center and radius and M is the number of items inside the "
        "index."
    ),
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=(
        Keys(),
        Keys(keyword="STORE", start_from=5, flags=("OW", "UPDATE")),
        Keys(keyword="STOREDIST", start_from=5, flags=("OW", "UPDATE")),
    ),
    args=(
        key(),
        string("member"),
        double("radius"),
        UNIT,
        token("WITHCOORD", optional=True),
        token("WITHDIST", optional=True),
        token("WITHHASH", optional=True),
        block("count", integer("count", token="COUNT"), token("ANY", optional=True), optional=True),
        oneof("order", token("ASC"), token("DESC"), optional=True),
        key(index=1, token="STORE", optional=True),
        key(index=2, token="STOREDIST", optional=True),
    ),
    reply=one_of(_FOUND, COUNT),
    acl_categories=("geo",),
    history=(("7.0.0", "Added support for uppercase unit names."),),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
)
def georadiusbymember(ctx: Context, argv: list[bytes]) -> Reply:
    """GEORADIUSBYMEMBER key member radius unit [option ...] [STORE key | STOREDIST key]"""
    return _georadiusbymember_generic(ctx, argv, storing=True)


@command(
    "GEORADIUSBYMEMBER_RO",
    group="geo",
    since="3.2.10",
    arity=-5,
    summary="A read-only variant for GEORADIUSBYMEMBER",
    complexity=(
        "O(N+log(M)) where N is the number of elements inside the bounding box of the "
        "circular area delimited by center and radius and M is the number of items inside the "
        "index."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("member"),
        double("radius"),
        UNIT,
        token("WITHCOORD", optional=True),
        token("WITHDIST", optional=True),
        token("WITHHASH", optional=True),
        block("count", integer("count", token="COUNT"), token("ANY", optional=True), optional=True),
        oneof("order", token("ASC"), token("DESC"), optional=True),
    ),
    reply=_FOUND,
    acl_categories=("geo",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
)
def georadiusbymember_ro(ctx: Context, argv: list[bytes]) -> Reply:
    """GEORADIUSBYMEMBER_RO key member radius unit [option ...]"""
    return _georadiusbymember_generic(ctx, argv, storing=False)


@command(
    "GEOSEARCH",
    group="geo",
    since="6.2.0",
    arity=-7,
    summary=(
        "Query a sorted set representing a geospatial index to fetch members inside an area "
        "of a box or a circle."
    ),
    complexity=(
        "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area "
        "around the shape provided as the filter and M is the number of items inside the "
        "shape"
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        oneof(
            "from",
            string("member", token="FROMMEMBER"),
            block(
                "longitude_latitude", double("longitude"), double("latitude"), token="FROMLONLAT"
            ),
        ),
        oneof(
            "by",
            block("circle", double("radius", token="BYRADIUS"), UNIT),
            block("box", double("width", token="BYBOX"), double("height"), UNIT),
        ),
        oneof("order", token("ASC"), token("DESC"), optional=True),
        block("count", integer("count", token="COUNT"), token("ANY", optional=True), optional=True),
        token("WITHCOORD", optional=True),
        token("WITHDIST", optional=True),
        token("WITHHASH", optional=True),
    ),
    reply=_FOUND,
    acl_categories=("geo",),
    history=(("7.0.0", "Added support for uppercase unit names."),),
)
def geosearch(ctx: Context, argv: list[bytes]) -> Reply:
    """GEOSEARCH key FROMMEMBER m | FROMLONLAT x y BYRADIUS r unit | BYBOX w h unit [option ...]"""
    value = read_value(ctx, argv[1], SortedSet)
    search = Search()
    _parse_options(argv, search, _Form(2, is_search=True), value)
    return _answer(ctx, value, search, "")


@command(
    "GEOSEARCHSTORE",
    group="geo",
    since="6.2.0",
    arity=-8,
    summary=(
        "Query a sorted set representing a geospatial index to fetch members inside an area "
        "of a box or a circle, and store the result in another key."
    ),
    complexity=(
        "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area "
        "around the shape provided as the filter and M is the number of items inside the "
        "shape"
    ),
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("OW", "UPDATE")), Keys(begin=2)),
    args=(
        key("destination"),
        key("source", index=1),
        oneof(
            "from",
            string("member", token="FROMMEMBER"),
            block(
                "longitude_latitude", double("longitude"), double("latitude"), token="FROMLONLAT"
            ),
        ),
        oneof(
            "by",
            block("circle", double("radius", token="BYRADIUS"), UNIT),
            block("box", double("width", token="BYBOX"), double("height"), UNIT),
        ),
        oneof("order", token("ASC"), token("DESC"), optional=True),
        block("count", integer("count", token="COUNT"), token("ANY", optional=True), optional=True),
        token("STOREDIST", optional=True),
    ),
    reply=COUNT,
    acl_categories=("geo",),
    history=(("7.0.0", "Added support for uppercase unit names."),),
)
def geosearchstore(ctx: Context, argv: list[bytes]) -> Reply:
    """GEOSEARCHSTORE destination source, then as GEOSEARCH, and [STOREDIST]"""
    value = read_value(ctx, argv[2], SortedSet)
    search = Search(store=argv[1])
    _parse_options(argv, search, _Form(3, is_search=True, storing=True), value)
    return _answer(ctx, value, search, "geosearchstore")


SPECS = specs_of(
    *(georadius, georadius_ro, georadiusbymember, georadiusbymember_ro),
    *(geosearch, geosearchstore),
)
