"""Answers: how they look, and how they are delivered from any process."""
