"""The connector API: what a foreign network must offer to be bridged. Types only; no I/O lives here.

Public, and all that a connector imports of dm_bridge, together with `dm_bridge.ids` and `dm_bridge.errors`:

* `dm_bridge.network.api`: connectors, networks, sessions, and the sink where events go;
* `dm_bridge.network.events`: what a session delivers and reports;
* `dm_bridge.network.media`: files and places;
* `dm_bridge.network.signals`: what it may say of typing and presence, which nobody keeps;
* `dm_bridge.network.abilities`: what it may offer beyond messages: edits, retractions, reactions, reads, typing;
* `dm_bridge.network.login`: logging in, step by step.

`dm_bridge.network.registry` finds connectors; only the bridge uses it. `dm_bridge.testing.conformance` checks
whether a connector keeps what these files say.
"""
