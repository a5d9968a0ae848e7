"""The KV cache: catalog, index, matching, write sessions, leases, reclaim."""
