"""Clients: the typed KV-cache SDK and connectors for engines.

    KVCache          blocking                 errors.*    one exception per error code
    AsyncKVCache     asyncio                  Keys        a key list

Owns nothing but the names; the asyncio source is `_async`, its generated twin `_sync`.
"""

from hotplate.clients._async.blocks import AsyncMatch, AsyncReservation
from hotplate.clients._async.kvc import AsyncKVCache
from hotplate.clients._sync.blocks import Match, Reservation
from hotplate.clients._sync.kvc import KVCache
from hotplate.clients.errors import (
    BadChainError,
    BadMaskError,
    ChecksumError,
    DuplicateError,
    InUseError,
    KVCacheError,
    NoGroupError,
    NoInstanceError,
    NoSessionError,
    NoSpaceError,
    NoStorageError,
    QuotaError,
    SessionClosedError,
    StaleBlockError,
    StorageIOError,
    TransportError,
    VersionError,
)
from hotplate.clients.keys import Keys
from hotplate.clients.records import InstanceInfo, StorageInfo

__all__ = [
    "AsyncKVCache",
    "AsyncMatch",
    "AsyncReservation",
    "BadChainError",
    "BadMaskError",
    "ChecksumError",
    "DuplicateError",
    "InUseError",
    "InstanceInfo",
    "KVCache",
    "KVCacheError",
    "Keys",
    "Match",
    "NoGroupError",
    "NoInstanceError",
    "NoSessionError",
    "NoSpaceError",
    "NoStorageError",
    "QuotaError",
    "Reservation",
    "SessionClosedError",
    "StaleBlockError",
    "StorageIOError",
    "StorageInfo",
    "TransportError",
    "VersionError",
]
