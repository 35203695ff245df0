"""`python -m schedappliance`: the same as the console script."""

import sys

from schedappliance.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
