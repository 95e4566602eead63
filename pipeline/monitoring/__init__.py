"""Metrics and health of a process, and the status of every stage, read from the log."""
