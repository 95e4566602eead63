"""Which part of the log a stage is to go through again."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.errors import MapSeekError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Part:
    """As it was asked for; nothing means all. Times are those of recording: `since` a moment, and `until` another one."""

    since: str | None = None
    until: str | None = None
    from_seq: int | None = None
    image: str | None = None
    guild: str | None = None

    @property
    def digest(self) -> str:
        """What the same part is known by when it is asked for once more."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:10]

    def check(self) -> None:
        """Raises MapSeekError where one option contradicts another."""
        if self.since is not None and self.from_seq is not None:
            raise MapSeekError("--since and --from-seq both say where to begin: give one of them.")


def moment(text: str, now: datetime) -> datetime:
    """A time with its offset, a date (its first moment in UTC), or how long ago (`90m`, `2d`). Raises MapSeekError."""
    try:
        return _moment(text, now)
    except OverflowError:
        raise MapSeekError(f"{text!r} is before all calendars: leave it out to mean everything.") from None


def _moment(text: str, now: datetime) -> datetime:
    if ago := re.fullmatch(r"(\d{1,6})([smhdw])", text.strip()):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MapSeekError(
            f"{text!r} is no moment: write a date (2026-11-21), a time (2026-11-21T15:30+01:00) or how long ago (2d)."
        ) from None
    if found.tzinfo is None:
        if re.fullmatch(r"[\d-]+", text.strip()) is None:
            raise MapSeekError(f"{text!r} does not say in which time zone: write {text.strip()}Z or an offset such as +01:00.")
        found = found.replace(tzinfo=UTC)
    return found.astimezone(UTC)
