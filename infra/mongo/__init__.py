"""MongoDB: the catalogue and the vector search for those who outgrow the embedded ones."""
