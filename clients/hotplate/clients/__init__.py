"""Clients: the typed KV-cache SDK and connectors for engines."""
