"""`python -m schedappliance`: the same as the console script."""

import sys

from schedappliance.cli.main import main

if __name__ == "__main__":
    status = main()
    # With -m, Python ends itself by SIGINT after an interrupt within the exec() of an import, even one that was handled.
    # The next exec() resets that, so the exit status is the one of `main`.
    exec("")
    sys.exit(status)
