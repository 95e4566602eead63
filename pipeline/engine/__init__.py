"""The message loop: workers, the runner, dead letters, consumers and the topology of the log."""
