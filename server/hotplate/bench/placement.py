"""Which processor runs what, so that the scheduler's choice is not what is measured.

On a small virtual machine a round trip between two processors takes four times as long as one on a
single processor, for the idle one has to be woken, and which of the two happens changes from run to
run. So both servers share one processor (only one is busy at a time), and the load comes from
another one; a single client that waits for each answer shares the servers' processor. Nothing is
placed where there is one processor, or a server that was not started here.
"""

import os
from collections.abc import Sequence
from typing import Final

_THIS_PROCESS: Final = 0


class Placement:
    """Places the servers at once, the load for each suite."""

    def __init__(self, server_pids: Sequence[int]) -> None:
        self._processors = sorted(os.sched_getaffinity(_THIS_PROCESS))
        self.active = len(server_pids) == 2 and len(self._processors) > 1
        if self.active:
            for pid in server_pids:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), self._processors[:1])

    def load(self, *, beside_servers: bool) -> None:
        """Run this process and its children on the servers' processor, or on the others."""
        if self.active:
            chosen = self._processors[:1] if beside_servers else self._processors[1:]
            os.sched_setaffinity(_THIS_PROCESS, chosen)

    def lift(self) -> None:
        """Let this process run anywhere again."""
        if self.active:
            os.sched_setaffinity(_THIS_PROCESS, self._processors)
