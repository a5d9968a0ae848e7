"""Reclaim policies: who goes first."""
