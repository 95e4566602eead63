"""The demo: simulated members post map art and search, on a simulated Discord, with the real client, log and stages."""
