"""What each command does; the command line in `pipeline/cli.py` only parses."""
