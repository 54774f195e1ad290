"""`python -m counterset.cli`."""

import sys

from counterset.cli import main

sys.exit(main())
