"""The embedded catalogue: one SQLite file."""
