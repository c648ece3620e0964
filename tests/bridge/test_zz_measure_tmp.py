# round trips per kept account, and PUTs of 1000 DMs over 100 s
import asyncio, sys
sys.path.insert(0,'/work/main')
import pytest
from tests.bridge.kept import *
from contextlib import asynccontextmanager
from dm_bridge.direct import Source
import time
class TestM:
    async def test_rt(self, database):
        seen=[]
        orig=database.connection
        class W(type(database)):
            @asynccontextmanager
            async def connection(self):
                async with orig() as c:
                    with c.query_logger(lambda r: seen.append(" ".join(r.query.split())[:60])):
                        yield c
        w=W(database._pool)
        k=Kept(w)
        await k.manage(*(RoomId(f"!r{n}") for n in range(3)))
        seen.clear(); await k.keep(); print("\nFIRST MARK", len(seen), *seen, sep="\n  ")
        await k.manage(RoomId("!new")); seen.clear(); await asyncio.sleep(0.6); await k.keep(); print("ONE MORE", len(seen), *seen, sep="\n  ")
        seen.clear(); k.keeper.look(USER, Source.SWEEP); await k.settled(); print("AT REST LOOK", len(seen), *seen, sep="\n  ")
        seen.clear(); k.keeper.saw(USER, k.homeserver.documents[USER], Source.PUSHED); await k.settled(); print("ECHO", len(seen), *seen, sep="\n  ")
        t=time.perf_counter()
        for _ in range(20):
            k.keeper.look(USER, Source.SWEEP)
            await k.keeper.settled(USER, within=5)
        await k.settled()
        await k.manage(*(RoomId(f"!room{n}:example.org") for n in range(1000)))
        await k.keep()
        seen.clear(); t=time.perf_counter(); k.keeper.look(USER, Source.SWEEP); await k.keeper.settled(USER, within=5); print("LOOK with 1000 rooms: ms", (time.perf_counter()-t)*1000)
        await k.keeper.stop()
