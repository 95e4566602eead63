"""The inverted index of local features: one shard for each guild and generation, a projection of the log that can be rebuilt."""
