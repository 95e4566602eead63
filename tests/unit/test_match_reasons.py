"""The sentence that says why a picture matches, in every language."""

import pytest

from contracts.events import Evidence, Panel
from infra.discord.answers.embeds import format_reason, to_percent
from infra.discord.wording import LANGUAGES

PANEL = Panel(row=2, column=3, rows=3, columns=4)
LARGER = Panel(row=1, column=2, rows=3, columns=4, height=2, width=2)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (Evidence(by="file"), "The very same file."),
        (Evidence(by="hash", agreement=0.998), "Exact copy."),
        (Evidence(by="hash", agreement=0.8), "Copy of the same picture."),
        (Evidence(by="hash", agreement=0.998, turn=90), "Same picture, turned by 90 degrees."),
        (Evidence(by="hash", angle=True), "Same picture, seen at an angle."),
        (Evidence(by="points", points=143, angle=True), "Same picture, seen at an angle: 143 matching points."),
        (Evidence(by="points", points=1), "Same picture: 1 matching point."),
        (Evidence(by="points", points=1200, mirrored=True), "Same picture, mirrored: 1,200 matching points."),
        (
            Evidence(by="points", points=20, mirrored=True, turn=270, angle=True),
            "Same picture, mirrored and turned by 270 degrees, seen at an angle: 20 matching points.",
        ),
        (Evidence(by="overlay", agreement=0.7), "Same picture: the two look alike when one is laid over the other."),
        (Evidence(by="points", points=30, shown=0.404), "Same picture: 30 matching points. 40% of the map art is visible."),
        (
            Evidence(by="points", points=30, shown=0.1, panel=PANEL),
            "Same picture: 30 matching points. Shows row 2, column 3 of 4x3 maps.",
        ),
        (
            Evidence(by="overlay", panel=LARGER),
            "Same picture: the two look alike when one is laid over the other. Shows rows 1-2, columns 2-3 of 4x3 maps.",
        ),
        (Evidence(by="vector", points=3, shown=0.1), "Only the colours and the subject are similar."),
    ],
)
def test_the_reason_names_the_evidence(evidence: Evidence, reason: str) -> None:
    assert format_reason("en-US", evidence) == reason


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("by", ["file", "hash", "points", "overlay", "vector"])
def test_the_reason_is_whole_sentences_in_every_language(language: str, by: str) -> None:
    reasons = {
        format_reason(
            language, Evidence.model_validate({"by": by, "points": 5, "turn": turn, "mirrored": mirrored, "panel": PANEL})
        )
        for turn in (0, 90)
        for mirrored in (False, True)
    }
    assert len(reasons) == (1 if by in ("file", "vector") else 4)
    assert all(sentence.endswith(".") and "  " not in sentence and " ," not in sentence for sentence in reasons)


def test_the_reason_in_german() -> None:
    evidence = Evidence(by="points", points=143, angle=True, turn=90, panel=PANEL)
    assert format_reason("de", evidence) == (
        "Dasselbe Bild, um 90 Grad gedreht, schräg gesehen: 143 Punkte stimmen überein. Zeigt Zeile 2, Spalte 3 von 4x3 Karten."
    )


@pytest.mark.parametrize(("fraction", "percent"), [(1.0, 100), (0.9999, 99), (0.29, 29), (0.0, 0), (-0.3, 0)])
def test_percentages_are_rounded_down(fraction: float, percent: int) -> None:
    assert to_percent(fraction) == percent
