"""Reclaim policies: which leaf goes next. One policy a file, behind the interface of base.py."""

from collections.abc import Callable
from typing import Final

from hotplate.kvc.policy.base import Forest, Policy
from hotplate.kvc.policy.fifo import Fifo
from hotplate.kvc.policy.hslru import HeadStartLru
from hotplate.kvc.policy.lfu import Lfu
from hotplate.kvc.policy.lru import Lru
from hotplate.kvc.policy.s3fifo import S3Fifo
from hotplate.kvc.policy.ttl import Ttl

_BY_NAME: Final[dict[str, Callable[[Forest], Policy]]] = {
    Lru.name: Lru,
    HeadStartLru.name: HeadStartLru,
    Lfu.name: Lfu,
    Fifo.name: Fifo,
    Ttl.name: Ttl,
    S3Fifo.name: S3Fifo,
}
POLICIES: Final = tuple(_BY_NAME)
DEFAULT_POLICY: Final = HeadStartLru.name


def build_policy(name: str, forest: Forest) -> Policy:
    """A policy of a name in POLICIES for a forest."""
    return _BY_NAME[name](forest)
