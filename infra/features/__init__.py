"""The feature index: an inverted index of local features, sharded by guild and generation. It is a projection of the log."""
