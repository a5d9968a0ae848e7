"""Imports point down, and each third-party library has one place."""

import ast
import subprocess
import sys

import pytest
from tests.arch.source_tree import REPOSITORY, imported_modules, module_name, package_files, parsed

# Where a library may be imported: these modules and what is below them.
HOMES = {
    "asyncio": (
        "hotplate.server",
        "hotplate.engine.blocking",
        "hotplate.tiers.io",
        "hotplate.persist.fsync",
        "hotplate.clients",
        "hotplate.bench.tiers",
    ),
    "uvloop": ("hotplate.server.loop",),
    "hiredis": ("hotplate.resp.reader", "hotplate.bench"),
    "msgpack": ("hotplate.wire",),
    "redis": (
        "hotplate.clients",
        "hotplate.bench",
        "hotplate.optimizer.events",
        "hotplate.optimizer.live",
        "hotplate.transfer",
    ),
    "lupa": ("hotplate.engine.scripting_runtime",),
    "torch": ("hotplate.clients.engines", "hotplate.clients.demo"),
    "transformers": ("hotplate.clients.engines", "hotplate.clients.demo"),
}


def is_below(module: str, home: str) -> bool:
    return module == home or module.startswith(home + ".")


def test_every_import_points_down_the_layers() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main"]
    command[-1] += "; main()"
    command += ["--no-cache"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_only_where_it_lives(library: str) -> None:
    strays = [
        f"{module_name(path)} imports {name}"
        for path in package_files()
        for name in imported_modules(parsed(path))
        if is_below(name, library)
        and not any(is_below(module_name(path), home) for home in HOMES[library])
    ]
    assert strays == []


def test_imports_inside_functions_and_conditions_are_seen() -> None:
    tree = ast.parse("def f():\n    import asyncio.events\nif X:\n    from redis import client\n")
    assert sorted(imported_modules(tree)) == ["asyncio.events", "redis"]


def test_only_the_clock_reads_the_time_below_the_server() -> None:
    timeless = ("keyspace", "kvc", "resp", "spec", "wire", "commands")
    strays = [
        module_name(path)
        for path in package_files()
        if any(is_below(module_name(path), f"hotplate.{name}") for name in timeless)
        and "time" in imported_modules(parsed(path))
    ]
    assert strays == []
