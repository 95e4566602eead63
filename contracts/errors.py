"""The errors that are handled differently from each other, and a helper that formats counts in messages."""

from enum import StrEnum


class MapSeekError(Exception):
    """A mistake or an outage that a person can fix. Its text is one sentence, shown without a traceback."""


class RejectCode(StrEnum):
    """Why an image can never be archived or searched for. Another attempt would not help."""

    NOT_ALLOWED = "not_allowed"
    GONE = "gone"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED = "damaged"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_COSTLY = "too_costly"
    NO_TEXT = "no_text"
    INTERNAL = "internal"


class Reject(Exception):
    """The input itself is unusable. The runner records the lane's rejected fact and does not retry."""

    def __init__(self, code: RejectCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def build_costly_rejection() -> Reject:
    """Return the rejection of a picture that would take too much time or memory to read."""
    return Reject(RejectCode.TOO_COSTLY, "That picture takes too much time or memory to read. Try a screenshot of it.")


def build_damaged_rejection() -> Reject:
    """Return the rejection of a picture that no decoder can read."""
    return Reject(RejectCode.DAMAGED, "The picture is damaged and cannot be read.")


class Retry(Exception):
    """This message may work later. It is redelivered with an exponential delay, and dead-lettered after its last attempt.

    `after` is the minimum delay in seconds, if the other side named one (Retry-After).
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Unavailable(Exception):
    """A dependency that every message needs is down. The message is held until it is back; this does not count as an attempt."""

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency} is unavailable: {reason}")
        self.dependency = dependency


class Malformed(Exception):
    """The message is not a fact that this version can read. It is dead-lettered at once."""


class BlobMissing(Exception):
    """The store has no intact blob of that name."""


def format_count(number: int, what: str) -> str:
    """Format a count with its noun: `1 picture`, `1,200 pictures`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
