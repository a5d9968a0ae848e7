"""`python -m hotplate.server`: the same as `hotplate serve`."""

import sys

from hotplate.server.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
