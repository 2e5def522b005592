"""`python -m perf.rfc8219`."""

import sys

from perf.rfc8219 import main

if __name__ == "__main__":
    sys.exit(main())
