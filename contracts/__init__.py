"""The types that all of MapSeek shares: facts, subjects, envelope, ports, errors, Stage.

No IO, no import of another package of ours.
"""
