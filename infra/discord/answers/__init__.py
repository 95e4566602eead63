"""How answers look in Discord: embeds, buttons, and the webhook that edits them in."""
