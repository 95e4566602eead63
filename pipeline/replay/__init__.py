"""Replay: build a generation from the archived pictures, or let one stage handle a part of the log again."""
