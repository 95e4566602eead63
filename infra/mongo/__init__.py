"""MongoDB: catalogue and vector search for archives that are too large for the embedded ones."""
