"""Points on the earth, kept as scores of a sorted set: adding, showing, measuring."""

from typing import Final

from hotplate.commands.geo_forms import (
    coordinates_reply,
    distance_text,
    parse_point,
    parse_unit,
)
from hotplate.commands.sorted_set_forms import COUNT
from hotplate.commands.sorted_sets import AddOptions, add_members
from hotplate.commands.values import read_value
from hotplate.engine.context import Context
from hotplate.keyspace.geohash import decode, distance_m, encode, text_of
from hotplate.keyspace.sorted_set import SortedSet
from hotplate.resp.types import NULL_ARRAY, Reply
from hotplate.spec.args import syntax_error
from hotplate.spec.model import (
    Flag,
    Keys,
    block,
    command,
    double,
    key,
    oneof,
    specs_of,
    string,
    token,
)
from hotplate.spec.reply import ArrayReply, BulkReply, DoubleReply, NullReply, TupleReply, one_of

_HASH: Final = BulkReply(rb"[0-9b-hjkmnp-z]{11}")
_POINT: Final = TupleReply((DoubleReply(), DoubleReply()))


@command(
    "GEOADD",
    group="geo",
    since="3.2.0",
    arity=-5,
    summary=(
        "Add one or more geospatial items in the geospatial index represented using a sorted set"
    ),
    complexity=(
        "O(log(N)) for each item added, where N is the number of elements in the sorted set."
    ),
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(Keys(flags=("RW", "UPDATE")),),
    args=(
        key(),
        oneof("condition", token("NX"), token("XX"), optional=True, since="6.2.0"),
        token("CH", "change", optional=True, since="6.2.0"),
        block(
            "longitude_latitude_member",
            double("longitude"),
            double("latitude"),
            string("member"),
            multiple=True,
        ),
    ),
    reply=COUNT,
    acl_categories=("geo",),
    history=(("6.2.0", "Added the `CH`, `NX` and `XX` options."),),
)
def geoadd(ctx: Context, argv: list[bytes]) -> Reply:
    """GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]"""
    options = AddOptions()
    at = 2
    while at < len(argv) and (word := argv[at].upper()) in (b"NX", b"XX", b"CH"):
        options.only_new |= word == b"NX"
        options.only_old |= word == b"XX"
        options.changed |= word == b"CH"
        at += 1
    count = len(argv) - at
    if not count or count % 3 or (options.only_new and options.only_old):
        raise syntax_error()
    points = [parse_point(argv[index], argv[index + 1]) for index in range(at, len(argv), 3)]
    scores = [float(encode(longitude, latitude)) for longitude, latitude in points]
    return add_members(ctx, argv[1], argv[at + 2 :: 3], scores, options)


@command(
    "GEOPOS",
    group="geo",
    since="3.2.0",
    arity=-2,
    summary="Returns longitude and latitude of members of a geospatial index",
    complexity="O(N) where N is the number of members requested.",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("member", optional=True, multiple=True),
    ),
    reply=ArrayReply(one_of(_POINT, NullReply())),
    acl_categories=("geo",),
)
def geopos(ctx: Context, argv: list[bytes]) -> Reply:
    """GEOPOS key [member ...]"""
    value = read_value(ctx, argv[1], SortedSet)
    found = [None if value is None else value.scores.get(member) for member in argv[2:]]
    return [
        NULL_ARRAY if score is None else coordinates_reply(ctx, *decode(score)) for score in found
    ]


@command(
    "GEOHASH",
    group="geo",
    since="3.2.0",
    arity=-2,
    summary="Returns members of a geospatial index as standard geohash strings",
    complexity=(
        "O(log(N)) for each member requested, where N is the number of elements in the sorted set."
    ),
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("member", optional=True, multiple=True),
    ),
    reply=ArrayReply(one_of(_HASH, NullReply())),
    acl_categories=("geo",),
)
def geohash(ctx: Context, argv: list[bytes]) -> Reply:
    """GEOHASH key [member ...]"""
    value = read_value(ctx, argv[1], SortedSet)
    found = [None if value is None else value.scores.get(member) for member in argv[2:]]
    return [None if score is None else text_of(score) for score in found]


@command(
    "GEODIST",
    group="geo",
    since="3.2.0",
    arity=-4,
    summary="Returns the distance between two members of a geospatial index",
    complexity="O(log(N))",
    flags=Flag.READONLY,
    keys=(Keys(),),
    args=(
        key(),
        string("member1"),
        string("member2"),
        oneof("unit", token("M"), token("KM"), token("FT"), token("MI"), optional=True),
    ),
    reply=one_of(BulkReply(rb"[0-9]+\.[0-9]{4}"), NullReply()),
    acl_categories=("geo",),
)
def geodist(ctx: Context, argv: list[bytes]) -> Reply:
    """GEODIST key member1 member2 [M | KM | FT | MI]"""
    unit_m = parse_unit(argv[4]) if len(argv) == 5 else 1.0
    if len(argv) > 5:
        raise syntax_error()
    value = read_value(ctx, argv[1], SortedSet)
    if value is None:
        return None
    first, second = value.scores.get(argv[2]), value.scores.get(argv[3])
    if first is None or second is None:
        return None
    return distance_text(distance_m(*decode(first), *decode(second)) / unit_m)


SPECS = specs_of(geoadd, geopos, geohash, geodist)
