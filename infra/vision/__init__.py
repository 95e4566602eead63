"""Computer vision: local features, perceptual hashes, regions, and the comparison of two pictures."""
