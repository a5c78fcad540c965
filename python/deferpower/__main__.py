"""``python -m deferpower``: the command line."""

from __future__ import annotations

import sys

from deferpower.cli import main

sys.exit(main())
