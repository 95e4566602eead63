"""Generations in a process: start the first one, open their encoders, and work on each that is not dropped."""
