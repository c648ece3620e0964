"""Connectors, a package for each network. They know `dm_bridge.network`, ids and errors, and nothing else."""
