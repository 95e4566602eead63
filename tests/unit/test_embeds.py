from typing import Any

import disnake
import pytest

from contracts.errors import RejectCode
from contracts.events import DiscordReply, Person, Question, SearchRejected, Verdict
from contracts.ports import Answer, Found
from infra.discord.embeds import BEST, HEADLINES, UNTRAINED, answer_view, percentage

POSTED = "2024-03-01T12:30:00+00:00"
THUMBNAIL = b"webp"


def found(
    number: int, score: float = 0.97, name: str = "Steve", filename: str = "sunset.png", thumbnail: bytes | None = THUMBNAIL
) -> Found:
    metadata: dict[str, Any] = {"upload_timestamp": POSTED, "user_name": name, "filename": filename}
    document = {"message_link": f"https://discord.com/channels/1/2/{number}", "metadata": metadata}
    return Found(image_id=str(number), score=score, document=document, thumbnail=thumbnail)


def answer(*matches: Found, verdict: Verdict = "match", trained: bool = True) -> Answer:
    return Answer(verdict=verdict, found=matches, trained=trained)


def error(reason: str) -> Answer:
    reply = DiscordReply(application_id="1", token="t")
    question = Question(asker=Person(id="1", name="Alex"), requested_at=POSTED, reply=reply)
    problem = SearchRejected(
        guild_id="1", search_id="9", question=question, stage="download", code=RejectCode.TOO_LARGE, reason=reason
    )
    return Answer(verdict="error", found=(), trained=True, problem=problem)


def text_of(embed: disnake.Embed) -> str:
    return f"{embed.title}\n{embed.description}\n{embed.footer.text}"


def test_the_best_match_is_large_and_says_who_when_and_where() -> None:
    view = answer_view(answer(found(11), found(12, 0.613)))
    summary, best, second = view.embeds
    assert summary.title == HEADLINES["match"]
    assert best.url == "https://discord.com/channels/1/2/11"
    assert best.description is not None
    for part in ("**97 %** similar, a match", "**Steve**", "<t:1709296200:D>", "<t:1709296200:R>", "sunset.png"):
        assert part in best.description
    assert (best.image.url, best.thumbnail.url) == ("attachment://match-1.webp", None)
    assert (second.image.url, second.thumbnail.url) == (None, "attachment://match-2.webp")
    assert second.description is not None
    assert second.description.startswith("**61 %** similar\n")
    assert view.files == {"match-1.webp": THUMBNAIL, "match-2.webp": THUMBNAIL}


def test_at_most_three_matches_are_shown() -> None:
    assert len(answer_view(answer(*(found(number) for number in range(9)))).embeds) == 4


def test_a_possible_match_is_not_called_a_match() -> None:
    summary, best = answer_view(answer(found(1, 0.7), verdict="possible")).embeds
    assert summary.title == HEADLINES["possible"]
    assert f"**70 %** similar, {BEST['possible']}" in (best.description or "")


def test_no_match_says_so_and_shows_nothing() -> None:
    view = answer_view(answer(found(1, 0.1), verdict="none"))
    assert [embed.title for embed in view.embeds] == [HEADLINES["none"]]
    assert view.files == {}


def test_an_error_gives_its_reason() -> None:
    (embed,) = answer_view(error("The file is larger than 25 MB.")).embeds
    assert (embed.title, embed.description) == (HEADLINES["error"], "The file is larger than 25 MB.")


@pytest.mark.parametrize("shown", [answer(found(1), found(2), trained=False), answer(verdict="none", trained=False)])
def test_an_untrained_model_is_named_on_every_result(shown: Answer) -> None:
    assert {embed.footer.text for embed in answer_view(shown).embeds} == {UNTRAINED}
    assert "untrained" in UNTRAINED


def test_a_trained_model_is_not_called_untrained() -> None:
    assert all("untrained" not in text_of(embed) for embed in answer_view(answer(found(1))).embeds)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("**bold** _a_ ~~x~~ `c` ||s||", r"\*\*bold\*\* \_a\_ \~\~x\~\~ \`c\` \|\|s\|\|"),
        ("[click](https://evil.example)", r"\[click](https://evil.example)"),
        ("https://evil.example/a_b_", r"https://evil.example/a\_b\_"),
        ("two\n# lines", "two # lines"),
    ],
)
def test_names_are_shown_as_they_are(name: str, shown: str) -> None:
    _, best = answer_view(answer(found(1, name=name, filename=name))).embeds
    assert f"**{shown}**" in (best.description or "")
    assert (best.description or "").endswith(f"\n{shown}")


@pytest.mark.parametrize("name", ["@everyone", "<@123456789012345678>", "<@&123456789012345678>"])
def test_nobody_is_mentioned(name: str) -> None:
    _, best = answer_view(answer(found(1, name=name))).embeds
    assert name not in (best.description or "")


def test_the_longest_answers_fit_in_a_message() -> None:
    longest = [found(number, name="*" * 5000, filename="_" * 5000) for number in range(9)]
    for view in (answer_view(answer(*longest, trained=False)), answer_view(error("~" * 50_000))):
        assert len(view.embeds) <= 10
        assert sum(len(embed) for embed in view.embeds) <= 6000
        assert all(len(embed.description or "") <= 4096 and len(embed.title or "") <= 256 for embed in view.embeds)


def test_a_lost_thumbnail_is_no_obstacle() -> None:
    view = answer_view(answer(found(1, thumbnail=None), found(2)))
    assert (view.embeds[1].image.url, view.files) == (None, {"match-2.webp": THUMBNAIL})


@pytest.mark.parametrize(("score", "shown"), [(1.0, "100 %"), (0.9999, "99 %"), (0.29, "29 %"), (0.0, "0 %"), (-0.3, "0 %")])
def test_percentages_are_rounded_down(score: float, shown: str) -> None:
    assert percentage(score) == shown
