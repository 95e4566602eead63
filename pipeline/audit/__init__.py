"""Audit: check that every image is where it should be: on Discord, in the log, blob store, catalogue and index."""
