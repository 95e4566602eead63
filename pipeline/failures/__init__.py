"""Dead letters: list and show them, retry them, or discard them."""
