"""The clock: the only place that reads it. Stages and adapters are handed it."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
