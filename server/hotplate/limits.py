"""Every bound on what a client can make grow, with its reason. Relations are checked at import."""

from typing import Final

# Protocol (resp)
BULK_BYTES_MAX: Final = 512 * 1024 * 1024  # `proto-max-bulk-len`, as Redis
ARRAY_ITEMS_MAX: Final = 1024 * 1024  # of one request; hiredis allocates the list from the header
INLINE_BYTES_MAX: Final = 64 * 1024  # of one inline line, as Redis
UNAUTHENTICATED_ARRAY_ITEMS_MAX: Final = 10  # before AUTH, as Redis
UNAUTHENTICATED_BULK_BYTES_MAX: Final = 16 * 1024
LARGE_BULK_BYTES: Final = 32 * 1024  # from here a bulk is received apart, not by the reader
QUERY_BUFFER_BYTES_MAX: Final = 1024 * 1024 * 1024  # `client-query-buffer-limit`, as Redis

# Names (kvc)
NAME_BYTES_MAX: Final = 512
BLOCK_KEY_BYTES_MAX: Final = 128
KEYS_PER_CALL_MAX: Final = 65_536

# Paced queues (LBQ)
QUEUE_CLASSES_MAX: Final = 64  # all are looked at for every entry that is released
QUEUE_WEIGHT_MAX: Final = 1_000_000
QUEUE_BURST_MAX: Final = 1_000_000
QUEUE_ENTRIES_MAX: Final = 10_000_000  # without CAPACITY; some 4 GB of them even without fields

# What KVC.EXPLAIN remembers (kvc), of each instance; one EXPLAIN scans it in milliseconds
EXPLAINED_KEY_BYTES_MAX: Final = 1024 * 1024  # keys of blocks that left
EXPLAINED_CALLS_MAX: Final = 16  # writes that were refused
EXPLAINED_CALL_BYTES_MAX: Final = 16 * 1024  # of the keys of one of them

assert UNAUTHENTICATED_BULK_BYTES_MAX <= LARGE_BULK_BYTES <= BULK_BYTES_MAX
assert UNAUTHENTICATED_ARRAY_ITEMS_MAX <= ARRAY_ITEMS_MAX
assert 2 * KEYS_PER_CALL_MAX < ARRAY_ITEMS_MAX, "PUT sends a key and a payload for each block"
