"""The demo: simulated members post map art and ask, through a local Discord, the real client, the real log and every real stage."""
