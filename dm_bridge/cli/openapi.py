"""``dm-bridge openapi``: the provisioning API as an OpenAPI document."""

from __future__ import annotations

import json

import click


@click.command(short_help="Print the OpenAPI document of the provisioning API.")
def openapi() -> None:
    """Print the provisioning API as an OpenAPI 3.1 document, in JSON; a running bridge serves the same one.

    For generators of clients, and for tools that check one. Needs no configuration.
    """
    from dm_bridge.provisioning.openapi import document

    click.echo(json.dumps(document(), indent=2, ensure_ascii=False))
