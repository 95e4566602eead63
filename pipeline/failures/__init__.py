"""What happens to work that fails: incidents, dead letters, and their way back."""
