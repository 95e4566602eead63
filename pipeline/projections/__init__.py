"""What is made from the log and can be made anew: the catalogue and the indexes."""
