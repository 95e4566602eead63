"""The only place that reads the clock. Stages and adapters get this function as a parameter."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
