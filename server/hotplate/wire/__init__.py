"""What server and clients share: error codes, location payloads, URIs, key hashing."""
