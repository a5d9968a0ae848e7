"""Command handlers, one Redis group a module: parse, call the domain, answer.

`build_registry` joins the modules' specs into the command table. A module is not imported before.
"""

from importlib import import_module
from typing import Final

from hotplate.spec.registry import Registry

MODULES: Final = (
    *("connection", "client", "client_tracking", "client_pause", "server"),
    *("configuration", "debug", "introspect"),
    *("generic", "expiration", "databases", "strings", "string_edits", "transactions"),
    *("hashes", "hash_walks", "hash_expiry", "hash_sessions"),
    *(
        "pubsub",
        "memory",
        "slowlog",
        "latency",
        "wait",
        "persistence",
        "scripting",
        "scripting_functions",
    ),
    *("lists", "list_edits", "list_moves", "blocking_lists", "sets", "set_algebra"),
    *("blocking_sorted_sets", "geo", "geo_search"),
    *("sorted_sets", "sorted_set_ranges", "sorted_set_picks", "sorted_set_algebra"),
    *("bitmaps", "bitfields", "hyperloglog", "sorting", "transfer"),
    *("streams", "stream_deletes", "stream_reads", "stream_groups", "stream_claims", "stream_info"),
    *("limits", "limits_acquire", "limits_settle", "limits_increx"),
    *("limits_queue", "limits_queue_add", "limits_queue_info"),
    *("kvc_admin", "kvc_read", "kvc_write", "kvc_data", "kvc_observe", "kvc_reclaim"),
)


def build_registry() -> Registry:
    """The table of all commands; contradictions among their specs are errors here."""
    modules = [import_module(f"hotplate.commands.{name}") for name in MODULES]
    return Registry.build(spec for module in modules for spec in module.SPECS)
