"""Archive local images as posts, and search for local images, from the command line."""
