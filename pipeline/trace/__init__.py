"""Everything that happened to an image or to a search, found in the logs and told in order."""
