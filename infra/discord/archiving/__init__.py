"""The archive's input: posts as they come, posts that were missed, posts of the past, and what was deleted."""
