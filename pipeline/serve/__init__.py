"""Running MapSeek, and looking at what runs: `up`, `run`, `gateway`, `status`, `invite`, `topology`, `schema`."""
