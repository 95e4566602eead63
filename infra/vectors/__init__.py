"""The embedded vector index: one shard for each guild and generation, a projection of the log that can always be rebuilt."""
