"""The bridge between a homeserver and a network that do nothing: what the bridge itself costs."""
