"""What a foreign network must offer to be bridged. Pure types: no I/O lives here."""
