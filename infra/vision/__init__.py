"""What is seen in pictures: local features, hashes, outlines, and how two pictures are compared."""
