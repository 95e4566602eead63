"""Questions: commands, buttons under answers, and how much anyone may ask."""
