"""The vector index as a projection of the log: loaded, brought up to it, and made anew while it answers."""
