"""How a process tells of itself: metrics, health, and the status of every stage on the log."""
