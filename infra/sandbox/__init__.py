"""What a running bot never loads: a Discord simulator, generators of pictures, and training."""
