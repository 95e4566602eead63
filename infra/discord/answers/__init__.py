"""Answers in Discord: embeds, buttons, and the webhook that delivers them."""
