"""The `hotplate` command. Each subcommand is imported only when it is asked for."""

import sys
from importlib.metadata import version
from typing import Final

_SUBCOMMANDS: Final = {
    "serve": ("hotplate.server.app", "run a server: hotplate serve [CONFIG-FILE] [--port N] ..."),
    "demo": ("hotplate.clients.demo", "a real model, its KV cache stored and found again"),
    "import": ("hotplate.transfer.import_data", "bring the data of a Redis in: a server or files"),
    "export": ("hotplate.transfer.export_data", "take the data out, to a Redis or into a file"),
    "check": ("hotplate.check.main", "are a server's files sound: hotplate check DIR [--repair]"),
    "bench": ("hotplate.bench.main", "measure Hotplate beside a Redis, in turn, as ratios"),
    "replay": ("hotplate.optimizer.main", "a trace of requests through the reclaim policies"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] in ("-v", "--version"):
        print(f"hotplate {version('hotplate')}")
        return 0
    name, *rest = arguments
    if name not in _SUBCOMMANDS:
        print(f"hotplate: there is no subcommand {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    module, _ = _SUBCOMMANDS[name]
    from importlib import import_module

    status: int = import_module(module).main(rest)
    return status


def _usage() -> str:
    lines = [f"  hotplate {name:<8} {text}" for name, (_, text) in _SUBCOMMANDS.items()]
    return "\n".join(
        (
            "Hotplate: a Redis-compatible server for LLM serving.",
            "",
            *lines,
            "",
            "hotplate SUBCOMMAND --help says more; hotplate --version says which one this is.",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
