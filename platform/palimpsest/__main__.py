"""``python -m palimpsest``."""

import sys

from palimpsest.commands import main

sys.exit(main())
