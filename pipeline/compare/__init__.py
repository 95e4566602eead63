"""Compare two generations: run the same queries in both, and show which of them is right more often."""
