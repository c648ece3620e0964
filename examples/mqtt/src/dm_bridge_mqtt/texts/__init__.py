"""What the connector says to people, in the languages that have a folder here."""

from pathlib import Path

from dm_bridge.texts import Catalogue

phrase = Catalogue(Path(__file__).parent)
