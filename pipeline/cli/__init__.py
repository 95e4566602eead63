"""What all commands share: the application and its groups, the consoles, opening an archive, and paths that are given."""
