"""What must be shared between nodes or survive a restart."""
