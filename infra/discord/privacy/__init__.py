"""What members may have forgotten, and what they are told of what is kept."""
