"""Runs commands: contexts, gates, dispatch, transactions, statistics."""
