"""``python -m spprof`` is the command ``spprof``."""

import sys

from spprof.cli import main

if __name__ == "__main__":
    sys.exit(main())
