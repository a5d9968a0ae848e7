"""RESP2 and RESP3, sans IO: readers, reply values, the encoder."""
