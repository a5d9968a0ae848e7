"""STATS: the counters of an instance, a group, a storage or everything, as one flat map."""

from collections.abc import Iterable
from typing import Any

from hotplate.kvc.counters import describe
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import Index
from hotplate.kvc.model import Group, Instance, Storage
from hotplate.kvc.quota import GroupUse


def stats(holdings: Holdings, of: Instance | Group | Storage | None) -> dict[str, Any]:
    """Numbers by name; nested maps for bytes by storage."""
    if isinstance(of, Instance):
        index = holdings.index(of)
        answer = describe([holdings.counters[of.number]])
        answer |= {"blocks": index.blocks, "sessions": len(index.sessions)}
        answer |= {"index_bytes": index.size_bytes()}
        answer["bytes"] = {
            name: {"writing": index.writing.get(number, 0), "serving": size_bytes}
            for number, size_bytes in sorted(index.serving.items())
            if (name := _storage_name(holdings, number))
        }
        return answer
    if isinstance(of, Group):
        return _group_stats(holdings, [holdings.uses[of.name]])
    if isinstance(of, Storage):
        return _storage_stats(holdings, of)
    answer = _group_stats(holdings, holdings.uses.values())
    answer["pins"] = len(holdings.pins)
    answer["storage_state"] = {
        storage.name: storage.state.value for storage in holdings.catalog.storages.values()
    }
    return answer


def _storage_name(holdings: Holdings, number: int) -> str:
    storage = holdings.catalog.storage_by_number[number]
    return storage.name if storage is not None else ""


def _group_stats(holdings: Holdings, uses: Iterable[GroupUse]) -> dict[str, Any]:
    uses = list(uses)
    indexes: list[Index] = [index for use in uses for index in use.indexes.values()]
    answer = describe([holdings.counters[index.instance.number] for index in indexes])
    answer |= {
        "blocks": sum(use.blocks for use in uses),
        "instances": len(indexes),
        "sessions": sum(use.sessions for use in uses),
        "leases": sum(use.leases for use in uses),
        "leased_bytes": sum(use.leased_bytes for use in uses),
        "used_bytes": sum(use.used for use in uses),
        "index_bytes": sum(index.size_bytes() for index in indexes),
    }
    by_storage: dict[str, dict[str, int]] = {}
    by_type: dict[str, int] = {}
    for use in uses:
        for number, item in use.by_storage.items():
            name = _storage_name(holdings, number)
            states = by_storage.setdefault(name, {"writing": 0, "serving": 0, "deleting": 0})
            states["writing"] += item.writing
            states["serving"] += item.serving
            states["deleting"] += item.deleting
            by_type[item.type] = by_type.get(item.type, 0) + item.used
    answer["bytes"] = by_storage
    answer["bytes_by_type"] = by_type
    return answer


def _storage_stats(holdings: Holdings, storage: Storage) -> dict[str, Any]:
    uses = [
        use.by_storage[storage.number]
        for use in holdings.uses.values()
        if storage.number in use.by_storage
    ]
    return {
        "writing": sum(use.writing for use in uses),
        "serving": sum(use.serving for use in uses),
        "deleting": sum(use.deleting for use in uses),
        "state": storage.state.value,
    }
