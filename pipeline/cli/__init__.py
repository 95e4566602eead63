"""The command line. Its modules only parse; what each command does is in `pipeline/commands/`."""
