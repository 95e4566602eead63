"""Adapters of the blob store: immutable bytes, named by their SHA-256."""
