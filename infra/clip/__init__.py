"""open_clip on torch, the only place that knows either; both are imported when an encoder is opened, not before."""
