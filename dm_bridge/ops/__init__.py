"""What admins look at: logging, metrics, health."""
