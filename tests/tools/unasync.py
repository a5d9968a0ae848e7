"""Write the blocking client from the asyncio one: `python tests/tools/unasync.py [--check]`.

Every file of `_async` that has no hand-written twin is copied to `_sync` with the rules below and
then formatted. `--check` writes nothing and exits 1 where a file differs. A rule that matches
nothing any more is an error: it would hide a misspelling.
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENTS = Path(__file__).parents[2] / "clients" / "hotplate" / "clients"
SOURCE, TARGET = CLIENTS / "_async", CLIENTS / "_sync"
HAND_WRITTEN = frozenset({"__init__.py", "stream.py"})
NOTICE = "# Generated from {name} by tests/tools/unasync.py: change that file and run it.\n"

RULES = (
    (r"\bimport redis\.asyncio as redis\b", "import redis"),
    (r"\bfrom contextlib import asynccontextmanager\b", "from contextlib import contextmanager"),
    (r"@asynccontextmanager\b", "@contextmanager"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\bAsync([A-Z]\w+)", r"\1"),
    (r"\bhotplate\.clients\._async\b", "hotplate.clients._sync"),
    (r"\basync with await\b", "with"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\baclose\b", "close"),
    (r"\bTasks and threads may share\b", "Threads may share"),
    (r"\bTasks may share\b", "Threads may share"),
    (r"\bNot for two tasks at once\b", "Not for two threads at once"),
    (r"which may come from another thread", "which comes from this thread"),
)


def blocking_source(source: str, name: str, used: set[str]) -> str:
    """One file translated; the rules that matched are added to `used`."""
    for pattern, replacement in RULES:
        source, count = re.subn(pattern, replacement, source)
        if count:
            used.add(pattern)
    return formatted(NOTICE.format(name=f"_async/{name}") + source, TARGET / name)


def formatted(source: str, path: Path) -> str:
    """`source` with its imports sorted and its lines broken as the project's rules say."""
    for arguments in (("check", "--quiet", "--select", "I", "--fix"), ("format", "--quiet")):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(path), "-"]
        done = subprocess.run(
            command, input=source, capture_output=True, text=True, check=True, cwd=CLIENTS
        )
        source = done.stdout
    return source


def translated() -> dict[Path, str]:
    """What every generated file should hold. ValueError for a rule that matches nothing."""
    used: set[str] = set()
    files = {
        TARGET / path.name: blocking_source(path.read_text(), path.name, used)
        for path in sorted(SOURCE.glob("*.py"))
        if path.name not in HAND_WRITTEN
    }
    unused = [pattern for pattern, _ in RULES if pattern not in used]
    if unused:
        raise ValueError(f"rules that match nothing: {unused}")
    return files


def main(argv: list[str]) -> int:
    """Write the files, or with --check say which ones differ."""
    files = translated()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    extra = {path for path in TARGET.glob("*.py") if path.name not in HAND_WRITTEN} - set(files)
    if "--check" in argv:
        for path in sorted([*stale, *extra]):
            print(f"{path} is not what {SOURCE / path.name} gives", file=sys.stderr)
        return 1 if stale or extra else 0
    for path in stale:
        path.write_text(files[path])
    for path in extra:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
