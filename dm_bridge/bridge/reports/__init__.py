"""What is told to those who collect it: how each message fares, and how each login is."""

from dm_bridge.bridge.reports.checkpoints import Checkpoints
from dm_bridge.bridge.reports.outlet import Outlet
from dm_bridge.bridge.reports.states import BridgeStates

__all__ = ["BridgeStates", "Checkpoints", "Outlet"]
