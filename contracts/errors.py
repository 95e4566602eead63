"""What can go wrong, in the few kinds that are handled differently, and how a sentence counts."""

from enum import StrEnum


class MapSeekError(Exception):
    """A mistake or an outage that a person can act on; its text is one sentence, shown without a traceback."""


class RejectCode(StrEnum):
    """Why an image can never be archived or asked about, however often it is tried."""

    NOT_ALLOWED = "not_allowed"
    GONE = "gone"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED = "damaged"
    TOO_MANY_PIXELS = "too_many_pixels"
    NO_TEXT = "no_text"
    INTERNAL = "internal"


class Reject(Exception):
    """The input itself is unusable: the runner records the lane's rejected fact and never tries again."""

    def __init__(self, code: RejectCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Retry(Exception):
    """This one message may work later: redelivered with exponential delay, dead-lettered when its attempts are used up.

    `after` is the least delay in seconds, when the other side named one (Retry-After).
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Unavailable(Exception):
    """A dependency that every message needs is down: the message is held, not counted, until it is back."""

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency} is unavailable: {reason}")
        self.dependency = dependency


class Malformed(Exception):
    """The bytes on a subject are no fact that this version can read: dead-lettered at once."""


class BlobMissing(Exception):
    """No blob of that digest is in the store."""


def format_count(number: int, what: str) -> str:
    """`1 picture`, `1,200 pictures`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
