"""Code that a running bot never loads: the Discord simulator, generators of pictures, and the training of models."""
