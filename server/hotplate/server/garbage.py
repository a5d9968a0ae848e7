"""Python's cycle collector, kept from walking what clients store.

An overwritten key frees one object and makes another. The collector counts those as nothing and
walks nothing, until it does: then it finds millions of young objects, and clients wait for seconds.
So at every beat of the server's timer all that is there is put aside for good, which costs nothing
however much it is: the collector walks what came within a beat, if that was a lot.

The price: garbage in a circle stays for ever once it is older than a beat. The server makes none;
reference counts free what it uses (tests/e2e/test_garbage.py).
"""

import gc
from typing import Final

_YOUNG_OBJECTS_MAX: Final = 20_000  # more than that in a beat are walked: some 2 ms


def settle() -> None:
    """What was made until the server is ready stays; walk it once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX)


def put_aside(_now_ms: int) -> bool:
    """(a job of the timer) Let the collector forget what is there."""
    gc.freeze()
    return False
