"""Databases and value types; knows no client and no reply."""
