"""Trace: find everything in the log that happened to an image or a search, and show it in order."""
