"""Finds connectors through entry points."""

from __future__ import annotations

from importlib.metadata import entry_points

from dm_bridge.errors import ConfigError
from dm_bridge.ids import NETWORK_NAME
from dm_bridge.network.api import API_VERSION, Connector

GROUP = "dm_bridge.connectors"


def connector_names() -> list[str]:
    """Names of the connectors that are installed, sorted; none of them is imported."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def load_connector(name: str) -> Connector:
    """Import the connector ``name``.

    Raises `ConfigError` when it is not installed, cannot be imported, or was written for another
    version of the connector API.
    """
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise ConfigError(
            f"There is no connector named {name!r} here; installed are: "
            f"{', '.join(connector_names()) or 'none'}. Install the package that brings it."
        )
    try:
        connector: Connector = points[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The connector {name!r} ({points[0].value}) cannot be imported: {error}. "
            "Reinstall the package that brings it."
        ) from error
    version = getattr(connector, "api_version", None)
    if getattr(connector, "name", name) != name or not NETWORK_NAME.fullmatch(name):
        raise ConfigError(
            f"The connector {name!r} calls itself {getattr(connector, 'name', None)!r}. Its entry point and its "
            "`name` must be the same: a small letter, then small letters and digits. Tell its author."
        )
    if version != API_VERSION:
        raise ConfigError(
            f"The connector {name!r} is written for version {version} of the "
            f"connector API; this bridge has version {API_VERSION}. Update the older of the two."
        )
    return connector
