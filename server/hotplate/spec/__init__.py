"""Command specs: the model, the registry, what is derived from them."""
