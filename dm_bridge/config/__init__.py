"""Typed configuration: one YAML file, overridden by the environment, secrets also from files.

The rule that must never break: a configuration that loads is complete and consistent. Whatever is
wrong is said at once, all of it, with file, line, key and what was expected, and no secret shown.
"""

from dm_bridge.config.load import load_config
from dm_bridge.config.problems import InvalidConfigError, Problem
from dm_bridge.config.schema import (
    AppserviceConfig,
    Config,
    DatabaseConfig,
    DirectConfig,
    HomeserverConfig,
    LoggingConfig,
    NetworkSection,
    Permission,
    PermissionEntry,
)
from dm_bridge.config.values import ListenAddress

__all__ = [
    "AppserviceConfig",
    "Config",
    "DatabaseConfig",
    "DirectConfig",
    "HomeserverConfig",
    "InvalidConfigError",
    "ListenAddress",
    "LoggingConfig",
    "NetworkSection",
    "Permission",
    "PermissionEntry",
    "Problem",
    "load_config",
]
