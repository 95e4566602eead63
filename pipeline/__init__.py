"""The composition root: settings, topology, runner and command line; the only place that chooses adapters."""
