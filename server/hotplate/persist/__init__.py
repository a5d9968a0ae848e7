"""What survives the process: the append-only log, snapshots and their files."""
