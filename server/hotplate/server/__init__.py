"""The composition root: sockets, timers, start and stop."""
