"""The asyncio clients: the source that `hotplate.clients._sync` is generated from."""
