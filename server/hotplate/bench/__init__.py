"""The side-by-side benchmark, one suite a file."""
