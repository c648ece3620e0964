"""The bridge's own page: for users, and for the admin; see docs/page.md."""

from dm_bridge.page.page import Page
from dm_bridge.page.sessions import Sessions
from dm_bridge.page.settings import PageSettings

__all__ = ["Page", "PageSettings", "Sessions"]
