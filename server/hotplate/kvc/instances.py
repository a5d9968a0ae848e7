"""An instance's index comes into the cache, and goes."""

from hotplate.kvc.counters import Counters
from hotplate.kvc.holdings import Holdings
from hotplate.kvc.index import Index


def add_index(holdings: Holdings, index: Index) -> None:
    """An instance was registered."""
    instance = index.instance
    holdings.indexes[instance.number] = index
    holdings.counters[instance.number] = Counters()
    holdings.uses[instance.group.name].indexes[instance.number] = index


def forget_index(holdings: Holdings, index: Index) -> None:
    """An instance goes; its blocks have left."""
    number = index.instance.number
    use = holdings.use(index)
    del holdings.indexes[number], use.indexes[number], holdings.counters[number]
    use.turns.given.pop(number, None)
    holdings.departed.forget_instance(number)
