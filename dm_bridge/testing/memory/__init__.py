"""The stores, in memory: the same promises as on PostgreSQL, in microseconds. For tests and the simulator.

That they are the same is tested by giving both the same operations.
"""

from dm_bridge.testing.memory.database import MemoryDatabase, Tables
from dm_bridge.testing.memory.direct import MemoryDirectStore
from dm_bridge.testing.memory.instances import MemoryInstanceStore
from dm_bridge.testing.memory.journals import MemoryJournalStore
from dm_bridge.testing.memory.logins import MemoryLoginStore, MemoryRoomStore
from dm_bridge.testing.memory.people import MemoryPeopleStore
from dm_bridge.testing.memory.portals import MemoryPortalStore
from dm_bridge.testing.memory.queues import MemoryInboxStore, MemoryOutboxStore
from dm_bridge.testing.memory.references import MemoryReferenceStore

__all__ = [
    "MemoryDatabase",
    "MemoryDirectStore",
    "MemoryInboxStore",
    "MemoryInstanceStore",
    "MemoryJournalStore",
    "MemoryLoginStore",
    "MemoryOutboxStore",
    "MemoryPeopleStore",
    "MemoryPortalStore",
    "MemoryReferenceStore",
    "MemoryRoomStore",
    "Tables",
]
