"""`python -m bear_classifier` is `bears`."""

import sys

from bear_classifier.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
