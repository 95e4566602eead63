"""Generations in a process: founding the first, opening their encoders, working on each that lives."""
