"""The probability of a match rises with the evidence and falls with the archive's size, and its thresholds are conservative."""

import pytest

from infra.vision.compare import MatchMeasures, estimate_probability
from stages.matching import MATCH_AT, POSSIBLE_AT

USUAL = MatchMeasures(inliers=10, agreement=0.6, hash_distance=110, archive_size=2_000, colour_correlation=0.9, colour_cast=0.05)


@pytest.mark.parametrize(
    "better",
    [
        USUAL._replace(inliers=30),
        USUAL._replace(agreement=0.75),
        USUAL._replace(hash_distance=20),
        USUAL._replace(margin=0.1),
        USUAL._replace(archive_size=50),
        USUAL._replace(colour_correlation=0.97),
    ],
)
def test_better_measures_raise_the_probability(better):
    assert estimate_probability(better) > estimate_probability(USUAL)


def test_an_unusual_perspective_lowers_the_probability():
    assert estimate_probability(USUAL._replace(strain=1.0)) < estimate_probability(USUAL)


def test_colours_that_no_light_explains_lower_the_probability():
    assert estimate_probability(USUAL._replace(colour_cast=0.5)) < estimate_probability(USUAL) / 2


def test_nothing_in_common_is_not_a_match():
    assert estimate_probability(MatchMeasures(archive_size=2_000)) < 0.01
    assert estimate_probability(MatchMeasures(archive_size=1)) < POSSIBLE_AT
    assert estimate_probability(MatchMeasures(inliers=4, archive_size=2_000)) < POSSIBLE_AT


def test_a_picture_re_encoded_is_a_match_in_any_archive():
    assert (
        estimate_probability(
            MatchMeasures(inliers=150, agreement=0.8, hash_distance=10, archive_size=1_000_000, colour_correlation=0.99)
        )
        > MATCH_AT
    )


def test_a_screenshot_is_a_match():
    assert (
        estimate_probability(MatchMeasures(inliers=40, agreement=0.7, archive_size=2_000, colour_correlation=0.95, colour_cast=0.1))
        > MATCH_AT
    )


def test_many_inliers_without_agreement_are_not_a_match():
    assert (
        estimate_probability(MatchMeasures(inliers=28, agreement=0.24, archive_size=2_000, colour_correlation=0.8, colour_cast=0.2))
        < MATCH_AT
    )


def test_a_strong_agreement_alone_is_at_least_possible():
    assert estimate_probability(MatchMeasures(agreement=0.95, archive_size=2_000, colour_correlation=0.97)) > POSSIBLE_AT


def test_absurd_measures_still_give_a_probability():
    for measures in (
        MatchMeasures(inliers=10**9, agreement=9.0, hash_distance=-5, margin=9.0, archive_size=0),
        MatchMeasures(agreement=-1, archive_size=10**12),
    ):
        assert 0 <= estimate_probability(measures) <= 1
