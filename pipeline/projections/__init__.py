"""Projections of the log that can be built again from it: the catalogue and the indexes."""
