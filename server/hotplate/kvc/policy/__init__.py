"""Reclaim policies: which leaf goes next. One policy a file, behind the interface of base.py."""

from typing import Final

from hotplate.kvc.policy.base import Forest, Policy
from hotplate.kvc.policy.fifo import Fifo
from hotplate.kvc.policy.hslru import HeadStartLru
from hotplate.kvc.policy.lfu import Lfu
from hotplate.kvc.policy.lru import Lru
from hotplate.kvc.policy.s3fifo import S3Fifo
from hotplate.kvc.policy.ttl import Ttl

_CLASSES: Final[tuple[type[Policy], ...]] = (Lru, HeadStartLru, Lfu, Fifo, Ttl, S3Fifo)
_BY_NAME: Final = {policy.name: policy for policy in _CLASSES}
POLICIES: Final = tuple(_BY_NAME)
DEFAULT_POLICY: Final = HeadStartLru.name


def build_policy(name: str, forest: Forest) -> Policy:
    """A policy of a name in POLICIES for a forest."""
    return _BY_NAME[name](forest)
