"""Training of our own models. The image tower: `python -m infra.sandbox.training`, or `make train`."""
