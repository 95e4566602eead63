"""Image encoders: open_clip on torch. Only this package uses them, and it imports them only when an encoder is opened."""
