"""Commands that run MapSeek or show its state: `up`, `run`, `gateway`, `status`, `invite`, `topology` and `schema`."""
