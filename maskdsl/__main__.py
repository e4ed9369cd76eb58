"""`python -m maskdsl` is the command `maskdsl`."""

import sys

from maskdsl.cli import main

if __name__ == "__main__":
    sys.exit(main())
