"""Connectors to inference engines; each imports its engine only when it is used."""
