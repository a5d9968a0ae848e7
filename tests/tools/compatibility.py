"""docs/compatibility.md: which commands of Redis and Valkey there are here, group by group."""

from typing import Final

from tests.tools.redis_commands import COMMANDS_BY_GROUP

from hotplate.spec.registry import Registry

# commands that exist only to say why they do nothing: clients ask, and shall get a clear answer
REFUSED: Final = {
    "cluster": "This instance has cluster support disabled",
    "replicaof": "needs replication, which this version does not have",
    "slaveof": "needs replication, which this version does not have",
    "psync": "needs replication, which this version does not have",
    "sync": "needs replication, which this version does not have",
}
_INTRODUCTION: Final = """\
# Compatibility with Redis and Valkey

Which of their commands a server answers, by Redis' own groups: those of redis-server 7.0, and the
newer ones of Redis 8 and Valkey 9. A command that is here behaves as in Redis, its options
included; what each takes is in [commands.md](commands.md). One that is not here answers
`ERR unknown command`, a subcommand `ERR unknown subcommand`. Commands of modules (JSON, search,
time series, probabilistic types) are not here.

Written by `python -m tests.tools.generate_documents` from the table of commands.

| group | supported | of |
|---|---|---|
"""


def _shown(names: list[str]) -> str:
    return ", ".join(f"`{name.replace('|', ' ').upper()}`" for name in names)


def _supported(registry: Registry, name: str) -> bool:
    return name.split("|")[0] not in REFUSED and registry.find(name.encode()) is not None


def compatibility_markdown(registry: Registry) -> str:
    """The page."""
    summary: list[str] = []
    sections: list[str] = []
    for group, names in COMMANDS_BY_GROUP.items():
        title = group.replace("_", " ").replace("-", " ").capitalize()
        have = [name for name in names if _supported(registry, name)]
        refused = [name for name in names if name.split("|")[0] in REFUSED]
        lack = [name for name in names if name not in have and name not in refused]
        summary.append(f"| {title} | {len(have)} | {len(names)} |")
        sections.append(f"## {title}\n")
        if have:
            sections.append(f"Supported: {_shown(have)}.\n")
        for reason in dict.fromkeys(REFUSED[name.split("|")[0]] for name in refused):
            same = [name for name in refused if REFUSED[name.split("|")[0]] == reason]
            sections.append(f"Answers with an error that says so ({reason}): {_shown(same)}.\n")
        if lack:
            sections.append(f"Not supported, answers: unknown command: {_shown(lack)}.\n")
    return _INTRODUCTION + "\n".join(summary) + "\n\n" + "\n".join(sections)
