"""Exit 0 if the server answers PING. Standard library only; HOTPLATE_PORT names another port.

A server that asks for a password answers NOAUTH: it is up, so that counts as healthy too.
"""

import os
import socket
import sys

TIMEOUT_SECONDS = 2.0


def main() -> int:
    """Ask once."""
    port = int(os.environ.get("HOTPLATE_PORT", "6379"))
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as link:
            link.sendall(b"*1\r\n$4\r\nPING\r\n")
            with link.makefile("rb") as replies:
                answer = replies.readline()
    except OSError as error:
        print(f"127.0.0.1:{port}: {error}", file=sys.stderr)
        return 1
    if answer == b"+PONG\r\n" or answer.startswith(b"-NOAUTH "):
        return 0
    print(f"127.0.0.1:{port} answered {answer!r}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
