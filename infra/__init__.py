"""The outside world: one folder per system, each an adapter of a port in contracts."""
