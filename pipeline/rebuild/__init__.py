"""Rebuilding a projection from the log beside the one that answers, and comparing the two."""
