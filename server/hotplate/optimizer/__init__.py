"""Offline: traces of requests through the cache's own policies, to see what a size would find."""
