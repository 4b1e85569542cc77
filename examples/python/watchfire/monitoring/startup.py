"""The specification's `src.monitoring.startup`: `python -m watchfire.monitoring.startup status`."""

import sys

from ..startup import main

if __name__ == "__main__":
    sys.exit(main())
