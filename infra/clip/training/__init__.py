"""The training of our own image tower: `python -m infra.clip.training`, or `make train`."""
