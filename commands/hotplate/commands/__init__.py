"""Command handlers, one Redis group a module: parse, call the domain, answer.

`build_registry` joins the modules' specs into the command table. A module is not imported before.
"""

from hotplate.spec.registry import Registry


def build_registry() -> Registry:
    """The table of all commands; contradictions among their specs are errors here."""
    from hotplate.commands import (
        bitfields,
        bitmaps,
        blocking_lists,
        blocking_sorted_sets,
        client,
        configuration,
        connection,
        databases,
        debug,
        expiration,
        generic,
        geo,
        geo_search,
        hash_expiry,
        hash_sessions,
        hash_walks,
        hashes,
        hyperloglog,
        introspect,
        kvc_admin,
        kvc_data,
        kvc_observe,
        kvc_read,
        kvc_write,
        latency,
        limits,
        limits_acquire,
        limits_increx,
        limits_settle,
        list_edits,
        list_moves,
        lists,
        memory,
        pubsub,
        server,
        set_algebra,
        sets,
        slowlog,
        sorted_set_algebra,
        sorted_set_picks,
        sorted_set_ranges,
        sorted_sets,
        sorting,
        string_edits,
        strings,
        transactions,
        transfer,
        wait,
    )

    modules = (
        *(connection, client, server, configuration, debug, introspect),
        *(generic, expiration, databases, strings, string_edits, transactions),
        *(hashes, hash_walks, hash_expiry, hash_sessions),
        *(pubsub, memory, slowlog, latency, wait),
        *(lists, list_edits, list_moves, blocking_lists, sets, set_algebra),
        *(blocking_sorted_sets,),
        *(sorted_sets, sorted_set_ranges, sorted_set_picks, sorted_set_algebra, geo, geo_search),
        *(bitmaps, bitfields, hyperloglog, sorting, transfer),
        *(limits, limits_acquire, limits_settle, limits_increx),
        *(kvc_admin, kvc_read, kvc_write, kvc_data, kvc_observe),
    )
    return Registry.build(spec for module in modules for spec in module.SPECS)
