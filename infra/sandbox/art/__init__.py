"""Procedural map art, deterministic by seed, for the demo, the tests and the benchmarks: numpy and Pillow only."""
