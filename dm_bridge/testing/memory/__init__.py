"""The stores, in memory: the same promises as on PostgreSQL, in microseconds. For tests and the simulator.

That they are the same is tested by giving both the same operations.
"""

from dm_bridge.testing.memory.database import MemoryDatabase, Tables
from dm_bridge.testing.memory.direct import MemoryDirectStore
from dm_bridge.testing.memory.instances import MemoryInstanceStore
from dm_bridge.testing.memory.journals import MemoryJournalStore
from dm_bridge.testing.memory.logins import MemoryLoginStore, MemoryRoomStore
from dm_bridge.testing.memory.portals import MemoryPortalStore
from dm_bridge.testing.memory.queues import MemoryInboxStore, MemoryOutboxStore

__all__ = [
    "MemoryDatabase",
    "MemoryDirectStore",
    "MemoryInboxStore",
    "MemoryInstanceStore",
    "MemoryJournalStore",
    "MemoryLoginStore",
    "MemoryOutboxStore",
    "MemoryPortalStore",
    "MemoryRoomStore",
    "Tables",
]
