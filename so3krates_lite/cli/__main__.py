"""`python -m so3krates_lite.cli` is the command `so3krates-lite`."""

import sys

from so3krates_lite.cli import main

sys.exit(main())
