"""``dm-bridge doctor``: whether all that the bridge needs is there, and is as it should be.

Each module asks about one thing, and judges the facts that it got in functions of their own, which are pure.
"""

from dm_bridge.app.doctor.examination import examine
from dm_bridge.app.doctor.findings import Finding, Verdict, mend, overall, unknown

__all__ = ["Finding", "Verdict", "examine", "mend", "overall", "unknown"]
