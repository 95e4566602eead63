"""What all commands share: the application and its groups, the consoles, opening an archive, and checks of paths."""
