"""``python -m dm_bridge.testing.simulator``: play many histories, and report. Exit code 1 when one went wrong."""

from __future__ import annotations

import sys

from dm_bridge.testing.simulator.report import main

if __name__ == "__main__":
    sys.exit(main())
