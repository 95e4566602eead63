"""Export and import: the log, its blobs and the settings as one file, which every export brings up to date."""
