"""What an answer looks like: every kind of page, in the reader's language, within Discord's limits whatever the names are."""

from collections.abc import Sequence
from typing import Any

import disnake
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import RejectCode
from contracts.events import Evidence
from contracts.ports import AnswerPage, FoundPost
from infra.discord.answers.buttons import ALERT, BROWSE, VOTE, parse_custom_id
from infra.discord.answers.embeds import (
    EXPLANATION_FILENAME,
    PICTURE_FILENAME,
    VERDICT_COLOURS,
    MessageView,
    render_answer,
    to_plain_text,
)
from infra.discord.wording import LANGUAGES, localize
from infra.sandbox.simulator.rest import check_message_body
from tests.support.answers import ASKER_ID, SEARCH_ID, THUMBNAIL, answer, error_answer, found, piece

BEST = found(3, 0.97, THUMBNAIL, user_name="Alex", filename="sunset.png", channel_id="88")
FIRST = found(1)
PROVEN = found(3, 0.97, THUMBNAIL, Evidence(by="points", points=143, angle=True))
MANY = piece(found(20, 0.9), *(found(number) for number in range(1, 13)))


def embed_of(shown: AnswerPage) -> disnake.Embed:
    (embed,) = render_answer(shown).embeds
    return embed


def lines(shown: AnswerPage) -> list[str]:
    return (embed_of(shown).description or "").split("\n")


def body(view: MessageView) -> dict[str, Any]:
    return {
        "embeds": [embed.to_dict() for embed in view.embeds],
        "components": [row.to_component_dict() for row in view.components],
    }


def buttons(shown: AnswerPage) -> list[dict[str, Any]]:
    return [button for row in body(render_answer(shown))["components"] for button in row["components"]]


def labels(shown: AnswerPage) -> list[str]:
    return [button["label"] for button in buttons(shown)]


def button(shown: AnswerPage, label: str) -> dict[str, Any]:
    (found,) = [each for each in buttons(shown) if each["label"] == label]
    return found


class TestAPiece:
    def test_a_single_post_says_who_when_and_where(self) -> None:
        embed = embed_of(answer(piece(BEST)))
        assert (embed.title, embed.url) == ("Found it: first posted by Alex", "https://discord.com/channels/1/77/3")
        assert (embed.description or "").split("\n") == [
            "Match: **97%** similar",
            "Posted by **Alex** on <t:1709469000:D> (<t:1709469000:R>) in <#88>",
            "File: sunset.png",
        ]
        assert (embed.colour, embed.footer.text) == (VERDICT_COLOURS["match"], None)

    def test_the_headline_names_the_first_post_and_the_picture_is_the_most_alike(self) -> None:
        shown = answer(piece(BEST, FIRST, found(2)))
        embed = embed_of(shown)
        assert (embed.title, embed.url) == ("Found it: first posted by Steve", "https://discord.com/channels/1/77/1")
        assert lines(shown)[1:4] == [
            "First posted by **Steve** on <t:1709296200:D> (<t:1709296200:R>) in <#77>",
            "The picture below was posted by **Alex** on <t:1709469000:D> in <#88>, "
            "[go to the post](https://discord.com/channels/1/77/3)",
            "Posted 2 more times",
        ]
        assert embed.image.url == f"attachment://{PICTURE_FILENAME}"
        view = render_answer(shown)
        assert (view.files[PICTURE_FILENAME].data, view.files[PICTURE_FILENAME].description) == (
            THUMBNAIL,
            "The map art that Alex posted",
        )

    def test_the_first_post_may_be_the_most_alike(self) -> None:
        shown = answer(piece(found(1, 0.97), found(2)))
        assert [line.split()[0] for line in lines(shown)] == ["Match:", "First", "Posted", "File:"]
        assert lines(shown)[2] == "Posted 1 more time"

    def test_a_possible_match_is_not_called_a_match(self) -> None:
        shown = answer(piece(found(1, 0.7)), verdict="possible")
        assert (embed_of(shown).title, lines(shown)[0]) == (
            "Possible match: first posted by Steve",
            "Possible match: **70%** similar",
        )
        assert embed_of(shown).colour == VERDICT_COLOURS["possible"]

    def test_each_page_has_the_verdict_of_its_own_piece(self) -> None:
        shown = answer(piece(found(1, 0.7)), piece_verdict="possible", number=1, pieces=2)
        assert embed_of(shown).title == "Another result: first posted by Steve"
        assert lines(shown)[0] == "Possible match: **70%** similar"
        assert embed_of(shown).footer.text == "Result 2 of 2"

    def test_what_was_not_compared_has_no_percentage(self) -> None:
        for by, said in (("image", "Possible match"), ("text", "This might be what you're looking for")):
            shown = answer(piece(FIRST, found(2)), verdict="possible", by=by)
            assert lines(shown)[0] == said
            assert "%" not in str(embed_of(shown).to_dict())

    def test_words_have_a_headline_of_their_own(self) -> None:
        shown = answer(piece(found(1, 0.31)), by="text")
        assert embed_of(shown).title == "Best result: first posted by Steve"
        assert lines(shown)[0] == "Fits your words: **31%**"
        assert {"This is it", "Not it"} <= set(labels(shown))

    def test_a_lost_thumbnail_is_no_obstacle(self) -> None:
        view = render_answer(answer(piece(found(1, 0.97))))
        assert (view.embeds[0].image.url, view.files) == (None, {})

    def test_an_archived_file_has_no_link(self) -> None:
        local = FoundPost("local-1", 0.9, {**FIRST.document, "message_link": "file:///a.png"}, None)
        shown = answer(piece(local))
        assert embed_of(shown).url is None
        assert labels(shown) == ["This is it", "Not it"]


class TestButtons:
    def test_one_post_of_one_piece_can_be_judged_and_gone_to(self) -> None:
        shown = answer(piece(BEST))
        assert labels(shown) == ["Go to the post", "This is it", "Not it"]
        assert parse_custom_id(button(shown, "This is it")["custom_id"], VOTE, 3) == (SEARCH_ID, "300", "1")
        assert parse_custom_id(button(shown, "Not it")["custom_id"], VOTE, 3) == (SEARCH_ID, "300", "0")
        assert button(shown, "Go to the post")["url"] == "https://discord.com/channels/1/77/3"

    def test_the_post_that_is_shown_is_judged_and_the_first_one_gone_to(self) -> None:
        shown = answer(piece(BEST, FIRST))
        assert parse_custom_id(button(shown, "This is it")["custom_id"], VOTE, 3) == (SEARCH_ID, "300", "1")
        assert button(shown, "Go to the post")["url"] == "https://discord.com/channels/1/77/1"
        assert parse_custom_id(button(shown, "Posted 2 times")["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "posts", "0", "0")

    @pytest.mark.parametrize(
        ("number", "previous", "following"),
        [(0, ("0", True), ("1", False)), (1, ("0", False), ("2", False)), (2, ("1", False), ("2", True))],
    )
    def test_pieces_are_turned_to_and_fro(self, number: int, previous: tuple[str, bool], following: tuple[str, bool]) -> None:
        shown = answer(piece(BEST), number=number, pieces=3)
        for label, (target, disabled) in (("Previous", previous), ("Next", following)):
            pressed = button(shown, label)
            assert parse_custom_id(pressed["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "piece", target, "0")
            assert pressed["disabled"] is disabled

    def test_the_posts_of_the_piece_that_is_shown(self) -> None:
        shown = answer(piece(BEST, FIRST), number=4, pieces=5)
        assert parse_custom_id(button(shown, "Posted 2 times")["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "posts", "4", "0")

    def test_no_match_can_be_watched_for(self) -> None:
        shown = answer(verdict="none")
        assert labels(shown) == ["Notify me if it's posted"]
        assert parse_custom_id(buttons(shown)[0]["custom_id"], ALERT, 1) == (SEARCH_ID,)


class TestWhy:
    def test_what_was_verified_says_how_sure_it_is_and_why(self) -> None:
        shown = answer(piece(PROVEN))
        assert lines(shown)[:2] == ["**97%** match", "Same picture, seen at an angle: 143 matching points."]
        assert labels(shown) == ["Go to the post", "This is it", "Not it", "Why this match?"]
        assert parse_custom_id(button(shown, "Why this match?")["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "why", "0", "0")

    def test_the_picture_of_it_has_a_message_of_its_own(self) -> None:
        shown = answer(piece(PROVEN), view="why", explanation=b"png", number=1, pieces=2)
        view = render_answer(shown)
        assert (embed_of(shown).title, lines(shown)) == (
            "Why this match?",
            ["**97%** match", "Same picture, seen at an angle: 143 matching points."],
        )
        assert {name: picture.data for name, picture in view.files.items()} == {EXPLANATION_FILENAME: b"png"}
        assert (view.embeds[0].image.url, view.components) == (f"attachment://{EXPLANATION_FILENAME}", [])

    @pytest.mark.parametrize("post", [PROVEN, FIRST])
    def test_without_a_picture_it_says_so(self, post: FoundPost) -> None:
        shown = answer(piece(post), view="why")
        assert lines(shown)[-1].startswith("There's no picture for this.")
        assert render_answer(shown).files == {}


class TestPosts:
    def test_ten_a_page_first_posted_first(self) -> None:
        shown = answer(MANY, view="posts", number=1, pieces=2)
        assert embed_of(shown).title == "Posted 13 times"
        assert lines(shown)[0] == (
            "**1.** <t:1709296200:D>: **Steve** in <#77>, [go to the post](https://discord.com/channels/1/77/1)"
        )
        assert [line.split()[0] for line in lines(shown)] == [f"**{rank}.**" for rank in range(1, 11)]
        assert embed_of(shown).footer.text == "Page 1 of 2"
        assert labels(shown) == ["Previous", "Next", "Back to the result"]
        assert parse_custom_id(button(shown, "Previous")["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "posts", "1", "0")
        assert parse_custom_id(button(shown, "Next")["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "posts", "1", "1")
        assert parse_custom_id(button(shown, "Back to the result")["custom_id"], BROWSE, 5) == (
            SEARCH_ID,
            ASKER_ID,
            "piece",
            "1",
            "0",
        )

    @pytest.mark.parametrize("page", [1, 2, 1000])
    def test_beyond_the_last_page_is_the_last_page(self, page: int) -> None:
        shown = answer(MANY, view="posts", page=page)
        assert [line.split()[0] for line in lines(shown)] == ["**11.**", "**12.**", "**13.**"]
        assert (button(shown, "Previous")["disabled"], button(shown, "Next")["disabled"]) == (False, True)

    def test_one_page_is_not_turned(self) -> None:
        shown = answer(piece(BEST, FIRST), view="posts")
        assert (labels(shown), embed_of(shown).footer.text) == (["Back to the result"], None)
        assert embed_of(shown).thumbnail.url == f"attachment://{PICTURE_FILENAME}"


class TestNothing:
    def test_no_match_says_so(self) -> None:
        embed = embed_of(answer(verdict="none"))
        assert embed.title == "No match"
        assert embed.description == "I couldn't find this picture in any channel you can see here."

    def test_no_words_are_watched_for(self) -> None:
        shown = answer(verdict="none", by="text")
        assert embed_of(shown).description == "I couldn't find anything that fits your words in any channel you can see here."
        assert buttons(shown) == []

    @pytest.mark.parametrize("code", RejectCode)
    @pytest.mark.parametrize("locale", LANGUAGES)
    def test_every_rejection_has_a_sentence_in_the_askers_language(self, code: RejectCode, locale: str) -> None:
        embed = embed_of(answer(verdict="error", locale=locale, problem=error_answer(code, "English.").problem))
        assert embed.title == localize(locale, "answers-error")
        sentence = localize(locale, f"answers-rejected-{code.value.replace('_', '-')}")
        assert embed.description == (f"{sentence}\nEnglish." if code is RejectCode.INTERNAL else sentence)
        assert buttons(error_answer(code)) == []

    def test_a_search_that_is_gone_is_too_old(self) -> None:
        assert embed_of(answer(verdict="error")).description == "This search is too old. Please search again."


@pytest.mark.parametrize(
    "shown",
    [answer(piece(BEST, FIRST), trained=False), answer(MANY, view="posts", trained=False), answer(verdict="none", trained=False)],
)
def test_an_untrained_model_is_named_on_every_result(shown: AnswerPage) -> None:
    assert (embed_of(shown).footer.text or "").endswith("untrained model: for demos only")


def test_the_footer_has_both_the_position_and_the_warning() -> None:
    shown = answer(piece(BEST), pieces=2, trained=False)
    assert embed_of(shown).footer.text == "Result 1 of 2 · untrained model: for demos only"


def test_a_german_asker_reads_german() -> None:
    shown = answer(piece(BEST, FIRST), locale="de", pieces=2)
    assert embed_of(shown).title == "Gefunden: zuerst gepostet von Steve"
    assert lines(shown)[0] == "Treffer: zu **97\u00a0%** ähnlich"
    assert labels(shown) == ["Zum Beitrag", "Zurück", "Weiter", "2-mal gepostet", "Das ist es", "Das ist es nicht"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("**bold** _a_ ~~x~~ `c` ||s||", r"\*\*bold\*\* \_a\_ \~\~x\~\~ \`c\` \|\|s\|\|"),
        ("[click](https://evil.example)", r"\[click](https://evil.example)"),
        ("https://evil.example/a_b_", r"https://evil.example/a\_b\_"),
        ("two\n# lines", "two # lines"),
        ("# heading", "# heading"),
        ("{ $filename }", "{ $filename }"),
    ],
)
def test_names_are_shown_as_they_are(name: str, shown: str) -> None:
    page = answer(piece(found(1, 0.9, user_name=name, filename=name)))
    assert (embed_of(page).title or "").endswith(shown)
    assert f"**{shown}**" in lines(page)[1]
    assert lines(page)[2] == f"File: {shown}"


@pytest.mark.parametrize("name", ["@everyone", "<@123456789012345678>", "<@&123456789012345678>"])
def test_nobody_is_mentioned(name: str) -> None:
    assert name not in str(embed_of(answer(piece(found(1, 0.9, user_name=name, filename=name)))).to_dict())


names = st.one_of(st.text(max_size=300), st.sampled_from("*_~`|[<>@#\\").map(lambda each: each * 300), st.just("@everyone" * 60))


@given(names, names, st.sampled_from(["en-US", "de"]), st.sampled_from(["image", "text"]), st.booleans(), st.integers(0, 3))
def test_every_page_fits_in_a_message(name: str, filename: str, locale: str, by: str, several: bool, number: int) -> None:
    called: dict[str, Any] = {"user_name": name, "filename": filename, "channel_id": "9" * 19}
    others: Sequence[FoundPost] = [found(day, **called) for day in range(1, 25)] if several else []
    evidence = Evidence(by="points", points=9) if several else None
    shown = piece(found(28, 0.9, THUMBNAIL, evidence, **called), *others)
    common: dict[str, Any] = {"locale": locale, "by": by, "trained": False, "number": number, "pieces": 4}
    for page in (
        answer(shown, **common),
        *(answer(shown, view="posts", page=each, **common) for each in range(3)),
        answer(shown, view="why", explanation=THUMBNAIL, **common),
    ):
        view = render_answer(page)
        check_message_body(body(view))
        assert all(len(picture.description) <= 1024 for picture in view.files.values())
        assert all(len(each.get("custom_id", "")) <= 100 for each in buttons(page))
    check_message_body(body(render_answer(error_answer(RejectCode.INTERNAL, name * 300))))


@given(names)
def test_plain_text_is_one_short_line(name: str) -> None:
    shown = to_plain_text(name)
    assert "\n" not in shown
    assert len(shown) <= 220
    assert disnake.utils.escape_mentions(shown) == shown
