"""`hotplate check`: are the files of a server sound, and what of them can be repaired."""
