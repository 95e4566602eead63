"""Dates as people type them: a year, a month or a day, in UTC."""

import re
from datetime import UTC, datetime

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?", re.ASCII)


def beginning_of(date: str) -> datetime | None:
    """The first moment of `2024`, `2024-03` or `2024-03-31`; None for what is no such date."""
    found = _DATE.fullmatch(date.strip())
    if found is None:
        return None
    year, month, day = (int(part) if part else 1 for part in found.groups())
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
