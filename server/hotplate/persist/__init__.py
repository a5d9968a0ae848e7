"""What outlives the process: snapshots, the log, and how they are read again."""
