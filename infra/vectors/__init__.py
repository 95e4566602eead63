"""The embedded vector index, sharded by guild and generation. It is a projection of the log."""
