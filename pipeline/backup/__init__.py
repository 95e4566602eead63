"""Export and import: the log, its blobs and what is kept beside it, as one file that grows with every export."""
