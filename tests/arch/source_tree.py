"""Where the sources are, and what they import: the base of the tests in this folder."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
SOURCE_ROOTS: Final = tuple(REPOSITORY / name for name in ("server", "commands", "clients"))
OTHER_ROOTS: Final = tuple(REPOSITORY / name for name in ("tests", "docker", "examples"))


def package_files() -> list[Path]:
    """Every Python file of the package `hotplate`."""
    return [path for root in SOURCE_ROOTS for path in sorted(root.rglob("*.py"))]


def python_files() -> list[Path]:
    """Every Python file of the project."""
    others = [path for root in OTHER_ROOTS for path in sorted(root.rglob("*.py"))]
    return package_files() + others


def module_name(path: Path) -> str:
    """`hotplate.resp.reader` for `server/hotplate/resp/reader.py`."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def shown(path: Path) -> str:
    """The path as messages show it."""
    return str(path.relative_to(REPOSITORY))


@cache
def parsed(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_bytes(), str(path))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Absolute names of what the tree imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
