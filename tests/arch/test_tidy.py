"""Sizes and names. A limit that hurts is a sign to split, not to raise it."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.arch.source_tree import (
    REPOSITORY,
    SOURCE_ROOTS,
    package_files,
    parsed,
    python_files,
    shown,
)

FILE_LINES_MAX: Final = 600
FUNCTION_LINES_MAX: Final = 70
LINE_CHARACTERS_MAX: Final = 100
POSITIONAL_PARAMETERS_MAX: Final = 5
VAGUE_NAMES: Final = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
# Spelled in halves, so that this file passes its own test.
LEFTOVERS: Final = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|HA" r"CK|TB" r"D|XX" r"X:)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def positional_parameters(function: Function) -> list[str]:
    names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def texts() -> list[Path]:
    """What people read and edit, beside Python files."""
    found = [REPOSITORY / "README.md", REPOSITORY / "Makefile", REPOSITORY / "pyproject.toml"]
    for root in (*SOURCE_ROOTS, REPOSITORY / "docs", REPOSITORY / "docker"):
        found += [path for path in sorted(root.rglob("*")) if path.suffix in {".md", ".yaml"}]
    return found


def test_files_stay_short() -> None:
    sizes = {shown(path): path.read_bytes().count(b"\n") for path in python_files()}
    assert {name: size for name, size in sizes.items() if size >= FILE_LINES_MAX} == {}


def test_lines_stay_short() -> None:
    long = [
        f"{shown(path)}:{number}"
        for path in python_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_CHARACTERS_MAX
    ]
    assert long == []


def test_functions_stay_short() -> None:
    long = {
        f"{shown(path)}:{function.name}": lines
        for path in python_files()
        for function in functions(parsed(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_functions_take_few_positional_parameters() -> None:
    greedy = {
        f"{shown(path)}:{function.name}": names
        for path in package_files()
        for function in functions(parsed(path))
        if len(names := positional_parameters(function)) > POSITIONAL_PARAMETERS_MAX
    }
    assert greedy == {}


def test_every_module_says_what_it_owns() -> None:
    silent = [shown(path) for path in package_files() if not ast.get_docstring(parsed(path))]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        shown(path)
        for path in package_files()
        if VAGUE_NAMES & {path.stem, *path.relative_to(REPOSITORY).parts}
    ]
    assert vague == []


def test_nothing_is_left_over() -> None:
    found = [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in python_files() + texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if LEFTOVERS.search(line)
    ]
    assert found == []


def test_no_file_turns_the_namespace_package_into_a_plain_one() -> None:
    assert [shown(root) for root in SOURCE_ROOTS if (root / "hotplate/__init__.py").exists()] == []


def test_no_two_source_roots_define_the_same_module() -> None:
    roots_by_module = defaultdict(list)
    for root in SOURCE_ROOTS:
        for path in (root / "hotplate").iterdir():
            if path.name != "__pycache__":
                roots_by_module[path.stem].append(root.name)
    assert {name: roots for name, roots in roots_by_module.items() if len(roots) > 1} == {}


def test_every_package_folder_has_its_init_file() -> None:
    bare = {
        shown(path.parent)
        for path in package_files()
        if path.parent.name != "hotplate" and not (path.parent / "__init__.py").exists()
    }
    assert bare == set()


def test_test_folders_hold_no_init_file() -> None:
    assert [shown(path) for path in (REPOSITORY / "tests").rglob("__init__.py")] == []


@pytest.mark.parametrize(
    ("source", "count"),
    [("def f(a, b, /, c, *, d): ...", 3), ("def f(self, a): ...", 1), ("def f(cls): ...", 0)],
)
def test_self_and_keyword_only_parameters_do_not_count(source: str, count: int) -> None:
    (function,) = functions(ast.parse(source))
    assert len(positional_parameters(function)) == count
