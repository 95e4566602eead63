"""The training of our own image tower: `python -m infra.sandbox.training`, or `make train`."""
