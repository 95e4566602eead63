"""NATS JetStream: the log."""
