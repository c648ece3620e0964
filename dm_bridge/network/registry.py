"""Finds connectors through entry points.

The rule that must never break: a package that is installed wrongly stops the bridge with a sentence that names
it, and never with a traceback.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from dm_bridge.errors import ConfigError
from dm_bridge.ids import NETWORK_NAME
from dm_bridge.network.api import API_VERSION, Connector

GROUP = "dm_bridge.connectors"
_PARTS = ("title", "config_model", "build")


def connector_names() -> list[str]:
    """Names of the connectors that are installed, sorted; none of them is imported."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load_connector(name: str) -> Connector:
    """Import the connector ``name``.

    Raises `ConfigError` when it is not installed, is brought by two packages, cannot be imported, lacks something,
    or was written for another version of the connector API.
    """
    points = {point.value: point for point in entry_points(group=GROUP) if point.name == name}
    if not points:
        raise ConfigError(
            f"There is no connector named {name!r} here; installed are: "
            f"{', '.join(connector_names()) or 'none'}. Install the package that brings it."
        )
    if len(points) > 1:
        raise ConfigError(
            f"There are {len(points)} connectors named {name!r} here ({', '.join(sorted(points))}). "
            "Remove all packages but one that bring it."
        )
    (point,) = points.values()
    try:
        connector: Connector = point.load()
    except Exception as error:  # whatever the package does when it is imported
        raise ConfigError(
            f"The connector {name!r} ({point.value}) cannot be imported: {error!r}. "
            "Reinstall the package that brings it."
        ) from error
    _check(name, connector)
    return connector


def _check(name: str, connector: Connector) -> None:
    """Raise `ConfigError` for a connector that could not work."""
    version = getattr(connector, "api_version", None)
    if version != API_VERSION:
        raise ConfigError(
            f"The connector {name!r} is written for version {version} of the "
            f"connector API; this bridge has version {API_VERSION}. Update the older of the two."
        )
    called = getattr(connector, "name", None)
    if called != name or not NETWORK_NAME.fullmatch(name):
        raise ConfigError(
            f"The connector {name!r} calls itself {called!r}. Its entry point and its "
            "`name` must be the same: a small letter, then small letters and digits. Tell its author."
        )
    lacking = [what for what in _PARTS if not hasattr(connector, what)]
    if lacking:
        raise ConfigError(
            f"The connector {name!r} has no `{'`, no `'.join(lacking)}`. Tell its author."
        )
