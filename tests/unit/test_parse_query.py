"""Words and dates as members write them in /find-text: excluded words, and the day that a date begins."""

from datetime import UTC, datetime

import pytest

from infra.discord.ask.parse import TextQuery, parse_date, parse_text_query


@pytest.mark.parametrize(
    ("query", "text", "excluded"),
    [
        ("a red dragon", "a red dragon", ()),
        ("dragon -night", "dragon", ("night",)),
        ('dragon -"stone  wall" -night', "dragon", ("stone wall", "night")),
        ("dragon -„stone wall“", "dragon", ("stone wall",)),
        ("dragon \N{MINUS SIGN}night", "dragon", ("night",)),
        ("-night dragon -night", "dragon", ("night",)),
        ("a mid-air dragon -mid-air", "a mid-air dragon", ("mid-air",)),
        ("dragon - night", "dragon - night", ()),
        ("dragon --", "dragon --", ()),
        ('dragon -""', "dragon", ()),
        ("  a \n b ", "a b", ()),
        ("-night", "", ("night",)),
        ("", "", ()),
    ],
)
def test_words_after_a_minus_are_excluded(query: str, text: str, excluded: tuple[str, ...]) -> None:
    assert parse_text_query(query) == TextQuery(text, excluded)


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-03", datetime(2024, 3, 1, tzinfo=UTC)),
        (" 2024-3-5 ", datetime(2024, 3, 5, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        *(
            (wrong, None)
            for wrong in ("2023-02-29", "2024-13", "0000", "24", "2024-03-31T10", "31.03.2024", "yesterday", "", "２０２４")
        ),
    ],
)
def test_a_date_is_its_first_moment_in_utc(typed: str, moment: datetime | None) -> None:
    assert parse_date(typed) == moment
