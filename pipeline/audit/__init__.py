"""Whether every image is where it should be: on Discord, in the log, in the blob store, in the catalogue and in the index."""
