"""Local images: archived as posts, and searched for, from the command line."""
