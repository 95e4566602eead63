"""What a button carries: all that is needed to act on a press, so that it works after a restart of every process.

`ms1:<kind>:<part>:...`, at most 100 characters. The `1` is the version: a button of an unknown version is answered with a sentence.
A pressed id comes back from Discord as it was sent, but it names things only; what the presser may do is checked anew.
"""

PREFIX = "ms1"
LONGEST = 100

BROWSE = "browse"
"""Turn to a page of an answer: search id, asker id, view, piece, page."""
VOTE = "vote"
"""Say whether an answered image is right: search id, image id, `1` or `0`."""
ALERT = "alert"
"""Ask to be told when the picture of a search turns up: search id."""
CANCEL_ALERT = "unalert"
"""Cancel an alert: guild id, alert id."""
BACKFILL = "backfill"
"""Steer a back-fill: `pause`, `resume` or `cancel`, channel id."""
FORGET = "forget"
"""Confirm that all of one's own posts are to be forgotten: `yes` or `no`, person id."""


def custom_id(kind: str, *parts: str) -> str:
    """The id of a button. Raises ValueError for what would not come back as it was."""
    joined = ":".join((PREFIX, kind, *parts))
    if len(joined) > LONGEST or any(":" in part for part in (kind, *parts)):
        raise ValueError(f"{joined!r} cannot be the id of a button")
    return joined


def parsed(pressed: str, kind: str, parts: int) -> tuple[str, ...] | None:
    """The parts of a pressed button of this kind, None for any other button."""
    prefix, _, rest = pressed.partition(":")
    found, _, tail = rest.partition(":")
    values = tuple(tail.split(":")) if tail else ()
    return values if (prefix, found, len(values)) == (PREFIX, kind, parts) else None
