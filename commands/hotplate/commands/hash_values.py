"""Finding a hash in which no field is due that a command is about to see.

A command that names fields gets a hash in which those are alive: what else is due goes in bounded
slices. A command that reads all fields gets one without any due field. Where no field is due, which
is one comparison, all this does nothing.
"""

from collections.abc import Sequence
from typing import Final

from hotplate.commands.values import read_value, write_value
from hotplate.engine.context import Context
from hotplate.keyspace.field_expiry import expire_fields
from hotplate.keyspace.hash import HASHTABLE, Hash

NOT_AN_INTEGER_VALUE: Final = "hash value is not an integer"
NOT_A_FLOAT_VALUE: Final = "hash value is not a float"


def read_hash(ctx: Context, key: bytes, fields: Sequence[bytes] = ()) -> Hash | None:
    """The hash that is read, `fields` of it looked at; None where there is no key."""
    value = read_value(ctx, key, Hash)
    if value is not None and value.first_ms < ctx.now_ms:
        return expire_fields(ctx.db, key, ctx.now_ms, fields=fields)
    return value


def read_whole_hash(ctx: Context, key: bytes) -> Hash | None:
    """The hash of which every field is read."""
    value = read_value(ctx, key, Hash)
    if value is not None and value.first_ms < ctx.now_ms:
        return expire_fields(ctx.db, key, ctx.now_ms, limit=len(value))
    return value


def write_hash(ctx: Context, key: bytes, fields: Sequence[bytes]) -> Hash | None:
    """The hash whose `fields` are changed."""
    value = write_value(ctx, key, Hash)
    if value is not None and value.first_ms < ctx.now_ms:
        return expire_fields(ctx.db, key, ctx.now_ms, fields=fields)
    return value


def create_hash(ctx: Context, key: bytes, fields: Sequence[bytes]) -> Hash:
    """The hash whose `fields` are set, made where there is none."""
    value = write_hash(ctx, key, fields)
    if value is None:
        value = Hash()
        ctx.db.assign(key, value, ctx.now_ms)
    return value


def put_fields(ctx: Context, value: Hash, parts: Sequence[bytes]) -> int:
    """Set fields, given as field, value, field ...; their times end. How many are new."""
    config = ctx.engine.config
    if value.name is not HASHTABLE and (
        len(parts) > 2 * config.hash_max_listpack_entries
        or max(map(len, parts)) > config.hash_max_listpack_value
    ):
        value.name = HASHTABLE
    created = value.put_many(parts, ctx.db.field_names)
    if created and len(value.table) > config.hash_max_listpack_entries:
        value.name = HASHTABLE
    return created


def replace_field(ctx: Context, value: Hash, field: bytes, item: bytes) -> None:
    """Set a field that keeps its time where it has one."""
    config = ctx.engine.config
    if max(len(field), len(item)) > config.hash_max_listpack_value:
        value.name = HASHTABLE
    if field in value.table:
        value.table[field] = item
    else:
        put_fields(ctx, value, (field, item))
