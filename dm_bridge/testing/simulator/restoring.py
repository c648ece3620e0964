"""x"""

from typing import Any

RESTORING: dict[str, Any] = {}
