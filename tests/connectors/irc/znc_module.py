"""A module ``playback`` for ZNC, in ZNC's Python, for tests.

The one that people use (https://wiki.znc.in/Playback) is not a part of Debian's package; this one does the same
with the buffers of the real ZNC: who has asked for the capability gets nothing until they ask to have played what
is newer than a time.
"""

PLAYBACK = """
import datetime

import znc

CAP = "znc.in/playback"


class playback(znc.Module):
    description = "plays buffers from a time on"
    module_types = [znc.CModInfo.GlobalModule]
    since = None

    def OnClientCapLs(self, client, caps):
        caps.add(CAP)

    def IsClientCapSupported(self, client, cap, state):
        return str(cap) == CAP

    def OnPrivBufferPlayMessage(self, message):
        if not message.GetClient().IsCapEnabled(CAP):
            return znc.CONTINUE
        stamp = znc.CUtils.FormatServerTime(message.GetTime())
        at = datetime.datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp()
        return znc.CONTINUE if self.since is not None and at > self.since else znc.HALTCORE

    def OnModCommand(self, command):
        words = str(command).split()
        if len(words) != 3 or words[0].upper() != "PLAY":
            self.PutModule("Usage: PLAY <buffers> <from>")
            return
        self.since = float(words[2])
        for query in self.GetNetwork().GetQueries():
            query.SendBuffer(self.GetClient())
        self.since = None
"""
