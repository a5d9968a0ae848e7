"""Command handlers, one Redis group a module: parse, call the domain, answer.

`build_registry` joins the modules' specs into the command table. A module is not imported before.
"""

from hotplate.spec.registry import Registry


def build_registry() -> Registry:
    """The table of all commands; contradictions among their specs are errors here."""
    from hotplate.commands import (
        client,
        configuration,
        connection,
        databases,
        debug,
        expiration,
        generic,
        introspect,
        kvc_admin,
        kvc_data,
        kvc_observe,
        kvc_read,
        kvc_write,
        latency,
        memory,
        pubsub,
        scripting,
        scripting_functions,
        server,
        slowlog,
        string_edits,
        strings,
        transactions,
        wait,
    )

    modules = (
        *(connection, client, server, configuration, debug, introspect),
        *(generic, expiration, databases, strings, string_edits, transactions),
        *(pubsub, memory, slowlog, latency, wait, scripting, scripting_functions),
        *(kvc_admin, kvc_read, kvc_write, kvc_data, kvc_observe),
    )
    return Registry.build(spec for module in modules for spec in module.SPECS)
