"""Writes the pages of docs/ that the declarations in the code give.

    python -m tests.tools.generate_documents

A test fails while a file differs from what this writes.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.tools.compatibility import compatibility_markdown

from hotplate.commands import build_registry
from hotplate.config import ALIASES, OPTIONS, Option
from hotplate.spec.docs import commands_markdown, settings_markdown

ROOT = Path(__file__).parents[2]


def _section(option: Option) -> str:
    if option.needs is not None:
        return "Features that are not in this version"
    if option.inert:
        return "Taken from Redis without an effect"
    return "KV cache" if option.name.startswith("kvc-") else "Server"


def _rows() -> dict[str, list[tuple[str, str, str, str]]]:
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    for name, option in OPTIONS.items():
        mark = " *" if option.mutable and option.needs is None else ""
        row = (name, option.kind.show(option.default), option.kind.describe(), option.doc + mark)
        sections.setdefault(_section(option), []).append(row)
    return sections


def build_documents() -> Mapping[Path, str]:
    """Each file and its text."""
    aliases = ", ".join(f"`{alias}` is `{name}`" for alias, name in sorted(ALIASES.items()))
    settings = settings_markdown(_rows()) + f"\nOther names: {aliases}.\n"
    registry = build_registry()
    return {
        ROOT / "docs" / "commands.md": commands_markdown(registry.walk()),
        ROOT / "docs" / "compatibility.md": compatibility_markdown(registry),
        ROOT / "docs" / "configuration.md": settings,
    }


if __name__ == "__main__":
    for path, text in build_documents().items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))
