"""The blob store: immutable bytes, named by their SHA-256."""
