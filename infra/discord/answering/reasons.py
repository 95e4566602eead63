"""Why something was found, in words: the same on Discord and on the command line. Pure."""

from contracts.events import Evidence, Panel
from infra.discord.wording import say

EXACT_AT = 0.99
"""How well two pictures that lie on each other agree, from which on one is called an exact copy of the other."""

PARTLY = 0.9
"""How much of a picture is in the question, below which it is said that there is only a part of it."""


def reason(locale: str, evidence: Evidence) -> str:
    """What speaks for a match: `Same picture, seen at an angle: 143 points agree. Row 2, column 3 of 4x3 maps.`"""
    if evidence.by == "vector":
        return say(locale, "reasons-vector")
    sentences = [_likeness_sentence(locale, evidence)]
    if evidence.panel is not None:
        sentences.append(_panel(locale, evidence.panel))
    elif evidence.shown < PARTLY:
        sentences.append(say(locale, "reasons-part", percent=percentage(evidence.shown)))
    return " ".join(sentences)


def percentage(share: float) -> int:
    """A share in whole per cent, rounded down so that only all of it shows as 100."""
    return int(max(share, 0.0) * 100 + 1e-6)


def _likeness_sentence(locale: str, evidence: Evidence) -> str:
    manner = ("both" if evidence.turn else "mirrored") if evidence.mirrored else "turned" if evidence.turn else "plain"
    exact = (evidence.agreement or 0.0) >= EXACT_AT
    if evidence.by == "hash" and manner == "plain" and not evidence.angle:
        return say(locale, "reasons-copy", exact="yes" if exact else "no")
    return say(
        locale,
        "reasons-same",
        manner=manner,
        turn=str(evidence.turn),
        angle="yes" if evidence.angle else "no",
        by=evidence.by,
        points=evidence.points,
    )


def _panel(locale: str, panel: Panel) -> str:
    return say(
        locale,
        "reasons-panel",
        row=_range(panel.row, panel.height),
        column=_range(panel.column, panel.width),
        rows=str(panel.rows),
        columns=str(panel.columns),
    )


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"
