"""`python -m frazil`."""

import sys

from frazil.cli import main

sys.exit(main())
