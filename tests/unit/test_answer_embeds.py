"""The messages of answers: every kind of page, in the asker's language, within Discord's limits for any names."""

from collections.abc import Sequence
from dataclasses import replace
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
from infra.sandbox.simulator.rest_messages import check_message_body
from tests.support.answers import ASKER_ID, SEARCH_ID, THUMBNAIL, answer, error_answer, found, piece

BEST = found(3, 0.97, THUMBNAIL, user_name="Alex", filename="sunset.png", channel_id="88")
FIRST = found(1)
PROVEN = found(3, 0.97, THUMBNAIL, Evidence(by="points", points=143, angle=True))
MANY = piece(found(20, 0.9), *(found(number) for number in range(1, 13)))


def get_embed(shown: AnswerPage) -> disnake.Embed:
    (embed,) = render_answer(shown).embeds
    return embed


def list_lines(shown: AnswerPage) -> list[str]:
    return (get_embed(shown).description or "").split("\n")


def build_body(view: MessageView) -> dict[str, Any]:
    return {
        "embeds": [embed.to_dict() for embed in view.embeds],
        "components": [row.to_component_dict() for row in view.components],
    }


def list_buttons(shown: AnswerPage) -> list[dict[str, Any]]:
    return [button for row in build_body(render_answer(shown))["components"] for button in row["components"]]


def list_labels(shown: AnswerPage) -> list[str]:
    return [button["label"] for button in list_buttons(shown)]


def find_button(shown: AnswerPage, label: str) -> dict[str, Any]:
    (match,) = [each for each in list_buttons(shown) if each["label"] == label]
    return match


class TestPiece:
    def test_a_single_post_has_author_date_and_channel(self) -> None:
        embed = get_embed(answer(piece(BEST)))
        assert (embed.title, embed.url) == ("Found it: first posted by Alex", "https://discord.com/channels/1/77/3")
        assert (embed.description or "").split("\n") == [
            "Match: **97%** similar",
            "Posted by **Alex** on <t:1709469000:D> (<t:1709469000:R>) in <#88>",
            "File: sunset.png",
        ]
        assert (embed.colour, embed.footer.text) == (VERDICT_COLOURS["match"], None)

    def test_the_headline_names_the_first_post_and_the_most_similar_picture_is_shown(self) -> None:
        shown = answer(piece(BEST, FIRST, found(2)))
        embed = get_embed(shown)
        assert (embed.title, embed.url) == ("Found it: first posted by Steve", "https://discord.com/channels/1/77/1")
        assert list_lines(shown)[1:4] == [
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

    def test_the_first_post_may_be_the_most_similar(self) -> None:
        shown = answer(piece(found(1, 0.97), found(2)))
        assert [line.split()[0] for line in list_lines(shown)] == ["Match:", "First", "Posted", "File:"]
        assert list_lines(shown)[2] == "Posted 1 more time"

    def test_a_possible_match_is_not_called_a_match(self) -> None:
        shown = answer(piece(found(1, 0.7)), verdict="possible")
        assert (get_embed(shown).title, list_lines(shown)[0]) == (
            "Possible match: first posted by Steve",
            "Possible match: **70%** similar",
        )
        assert get_embed(shown).colour == VERDICT_COLOURS["possible"]

    def test_each_page_has_the_verdict_of_its_own_piece(self) -> None:
        shown = answer(piece(found(1, 0.7)), piece_verdict="possible", number=1, pieces=2)
        assert get_embed(shown).title == "Another result: first posted by Steve"
        assert list_lines(shown)[0] == "Possible match: **70%** similar"
        assert get_embed(shown).footer.text == "Result 2 of 2"

    def test_a_candidate_that_was_not_compared_has_no_percentage(self) -> None:
        for by, said in (("image", "Possible match"), ("text", "This might be what you're looking for")):
            shown = answer(piece(FIRST, found(2)), verdict="possible", by=by)
            assert list_lines(shown)[0] == said
            assert "%" not in str(get_embed(shown).to_dict())

    def test_a_text_search_has_its_own_headline(self) -> None:
        shown = answer(piece(found(1, 0.31)), by="text")
        assert get_embed(shown).title == "Best result: first posted by Steve"
        assert list_lines(shown)[0] == "Fits your words: **31%**"
        assert {"This is it", "Not it"} <= set(list_labels(shown))

    def test_a_piece_without_a_thumbnail_has_no_picture(self) -> None:
        view = render_answer(answer(piece(found(1, 0.97))))
        assert (view.embeds[0].image.url, view.files) == (None, {})

    def test_an_imported_file_has_no_link_to_a_post(self) -> None:
        local = FoundPost("local-1", 0.9, {**FIRST.document, "message_link": "file:///a.png"}, None)
        shown = answer(piece(local))
        assert get_embed(shown).url is None
        assert list_labels(shown) == ["This is it", "Not it"]


class TestButtons:
    def test_a_single_post_has_vote_buttons_and_a_link(self) -> None:
        shown = answer(piece(BEST))
        assert list_labels(shown) == ["Go to the post", "This is it", "Not it"]
        assert parse_custom_id(find_button(shown, "This is it")["custom_id"], VOTE, 3) == (SEARCH_ID, "300", "1")
        assert parse_custom_id(find_button(shown, "Not it")["custom_id"], VOTE, 3) == (SEARCH_ID, "300", "0")
        assert find_button(shown, "Go to the post")["url"] == "https://discord.com/channels/1/77/3"

    def test_votes_are_for_the_shown_post_and_the_link_goes_to_the_first_post(self) -> None:
        shown = answer(piece(BEST, FIRST))
        assert parse_custom_id(find_button(shown, "This is it")["custom_id"], VOTE, 3) == (SEARCH_ID, "300", "1")
        assert find_button(shown, "Go to the post")["url"] == "https://discord.com/channels/1/77/1"
        assert parse_custom_id(find_button(shown, "Posted 2 times")["custom_id"], BROWSE, 5) == (
            SEARCH_ID,
            ASKER_ID,
            "posts",
            "0",
            "0",
        )

    @pytest.mark.parametrize(
        ("number", "previous", "following"),
        [(0, ("0", True), ("1", False)), (1, ("0", False), ("2", False)), (2, ("1", False), ("2", True))],
    )
    def test_previous_and_next_turn_the_pieces(self, number: int, previous: tuple[str, bool], following: tuple[str, bool]) -> None:
        shown = answer(piece(BEST), number=number, pieces=3)
        for label, (target, disabled) in (("Previous", previous), ("Next", following)):
            pressed = find_button(shown, label)
            assert parse_custom_id(pressed["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "piece", target, "0")
            assert pressed["disabled"] is disabled

    def test_the_posts_button_opens_the_posts_of_the_shown_piece(self) -> None:
        shown = answer(piece(BEST, FIRST), number=4, pieces=5)
        assert parse_custom_id(find_button(shown, "Posted 2 times")["custom_id"], BROWSE, 5) == (
            SEARCH_ID,
            ASKER_ID,
            "posts",
            "4",
            "0",
        )

    def test_no_match_offers_an_alert(self) -> None:
        shown = answer(verdict="none")
        assert list_labels(shown) == ["Notify me if it's posted"]
        assert parse_custom_id(list_buttons(shown)[0]["custom_id"], ALERT, 1) == (SEARCH_ID,)


class TestReasonPage:
    def test_a_verified_match_shows_probability_and_reason(self) -> None:
        shown = answer(piece(PROVEN))
        assert list_lines(shown)[:2] == ["**97%** match", "Same picture, seen at an angle: 143 matching points."]
        assert list_labels(shown) == ["Go to the post", "This is it", "Not it", "Why this match?"]
        assert parse_custom_id(find_button(shown, "Why this match?")["custom_id"], BROWSE, 5) == (
            SEARCH_ID,
            ASKER_ID,
            "why",
            "0",
            "0",
        )

    def test_the_explanation_picture_has_its_own_message(self) -> None:
        shown = answer(piece(PROVEN), view="why", explanation=b"png", number=1, pieces=2)
        view = render_answer(shown)
        assert (get_embed(shown).title, list_lines(shown)) == (
            "Why this match?",
            ["**97%** match", "Same picture, seen at an angle: 143 matching points."],
        )
        assert {name: picture.data for name, picture in view.files.items()} == {EXPLANATION_FILENAME: b"png"}
        assert (view.embeds[0].image.url, view.components) == (f"attachment://{EXPLANATION_FILENAME}", [])

    @pytest.mark.parametrize("post", [PROVEN, FIRST])
    def test_a_missing_explanation_picture_is_stated(self, post: FoundPost) -> None:
        shown = answer(piece(post), view="why")
        assert list_lines(shown)[-1].startswith("There's no picture for this.")
        assert render_answer(shown).files == {}


class TestPostsPage:
    def test_ten_posts_a_page_oldest_first(self) -> None:
        shown = answer(MANY, view="posts", number=1, pieces=2)
        assert get_embed(shown).title == "Posted 13 times"
        assert list_lines(shown)[0] == (
            "**1.** <t:1709296200:D>: **Steve** in <#77>, [go to the post](https://discord.com/channels/1/77/1)"
        )
        assert [line.split()[0] for line in list_lines(shown)] == [f"**{rank}.**" for rank in range(1, 11)]
        assert get_embed(shown).footer.text == "Page 1 of 2"
        assert list_labels(shown) == ["Previous", "Next", "Back to the result"]
        assert parse_custom_id(find_button(shown, "Previous")["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "posts", "1", "0")
        assert parse_custom_id(find_button(shown, "Next")["custom_id"], BROWSE, 5) == (SEARCH_ID, ASKER_ID, "posts", "1", "1")
        assert parse_custom_id(find_button(shown, "Back to the result")["custom_id"], BROWSE, 5) == (
            SEARCH_ID,
            ASKER_ID,
            "piece",
            "1",
            "0",
        )

    @pytest.mark.parametrize("page", [1, 2, 1000])
    def test_a_page_number_beyond_the_last_shows_the_last_page(self, page: int) -> None:
        shown = answer(MANY, view="posts", page=page)
        assert [line.split()[0] for line in list_lines(shown)] == ["**11.**", "**12.**", "**13.**"]
        assert (find_button(shown, "Previous")["disabled"], find_button(shown, "Next")["disabled"]) == (False, True)

    def test_a_single_page_has_no_page_buttons(self) -> None:
        shown = answer(piece(BEST, FIRST), view="posts")
        assert (list_labels(shown), get_embed(shown).footer.text) == (["Back to the result"], None)
        assert get_embed(shown).thumbnail.url == f"attachment://{PICTURE_FILENAME}"


def cover(post: FoundPost, *, now: bool | None = None, posted: bool | None = None) -> FoundPost:
    """Return the post as it is covered now, and as it was posted; None: nothing is known of that."""
    document = dict(post.document)
    if posted is not None:
        document["metadata"] = document["metadata"] | {"spoiler": posted}
    if now is not None:
        document["visibility"] = {"turn": 1, "hidden": False, "spoiler": now}
    return replace(post, document=document)


class TestSpoilers:
    @pytest.mark.parametrize(
        ("now", "posted", "covered"),
        [
            (None, None, False),
            (None, False, False),
            (None, True, True),
            (True, False, True),
            (False, True, False),
            (True, None, True),
        ],
    )
    def test_a_post_is_covered_as_it_is_shown_now(self, now: bool | None, posted: bool | None, covered: bool) -> None:
        view = render_answer(answer(piece(cover(BEST, now=now, posted=posted))))
        assert [*view.files] == [f"SPOILER_{PICTURE_FILENAME}" if covered else PICTURE_FILENAME]
        assert (view.embeds[0].image.url is None) == covered

    @pytest.mark.parametrize("view", ["piece", "posts", "why"])
    def test_no_embed_refers_to_a_spoiler(self, view: str) -> None:
        shown = render_answer(answer(piece(cover(PROVEN, posted=True), FIRST), view=view, explanation=b"png"))
        (name,) = shown.files
        assert name == f"SPOILER_{EXPLANATION_FILENAME if view == 'why' else PICTURE_FILENAME}"
        assert "attachment://" not in str(build_body(shown))

    @pytest.mark.parametrize("spoiler", [True, False])
    def test_the_explanation_of_a_covered_query_is_covered(self, spoiler: bool) -> None:
        page = answer(piece(PROVEN), view="why", explanation=b"png", spoiler=spoiler)
        view = render_answer(page)
        assert [*view.files] == [f"SPOILER_{EXPLANATION_FILENAME}" if spoiler else EXPLANATION_FILENAME]
        assert (view.embeds[0].image.url is None) == spoiler
        assert [*render_answer(replace(page, view="piece")).files] == [PICTURE_FILENAME]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_the_words_do_not_place_a_covered_picture_below(self, language: str) -> None:
        opened, covered = (list_lines(answer(piece(post, FIRST), locale=language)) for post in (BEST, cover(BEST, posted=True)))
        assert [one == other for one, other in zip(opened, covered, strict=True)] == [True, True, False, True, True]


class TestNoMatch:
    def test_no_match_is_stated(self) -> None:
        embed = get_embed(answer(verdict="none"))
        assert embed.title == "No match"
        assert embed.description == "I couldn't find this picture in any channel you can see here."

    def test_a_text_search_without_a_match_offers_no_alert(self) -> None:
        shown = answer(verdict="none", by="text")
        assert get_embed(shown).description == "I couldn't find anything that fits your words in any channel you can see here."
        assert list_buttons(shown) == []

    @pytest.mark.parametrize("code", RejectCode)
    @pytest.mark.parametrize("locale", LANGUAGES)
    def test_every_rejection_has_a_sentence_in_the_askers_language(self, code: RejectCode, locale: str) -> None:
        embed = get_embed(answer(verdict="error", locale=locale, problem=error_answer(code, "English.").problem))
        assert embed.title == localize(locale, "answers-error")
        sentence = localize(locale, f"answers-rejected-{code.value.replace('_', '-')}")
        assert embed.description == (f"{sentence}\nEnglish." if code is RejectCode.INTERNAL else sentence)
        assert list_buttons(error_answer(code)) == []

    def test_a_search_that_the_log_has_dropped_is_too_old(self) -> None:
        assert get_embed(answer(verdict="error")).description == "This search is too old. Please search again."


@pytest.mark.parametrize(
    "shown",
    [answer(piece(BEST, FIRST), trained=False), answer(MANY, view="posts", trained=False), answer(verdict="none", trained=False)],
)
def test_an_untrained_model_is_named_on_every_result(shown: AnswerPage) -> None:
    assert (get_embed(shown).footer.text or "").endswith("untrained model: for demos only")


def test_the_footer_has_both_the_position_and_the_warning() -> None:
    shown = answer(piece(BEST), pieces=2, trained=False)
    assert get_embed(shown).footer.text == "Result 1 of 2 · untrained model: for demos only"


def test_a_german_asker_reads_german() -> None:
    shown = answer(piece(BEST, FIRST), locale="de", pieces=2)
    assert get_embed(shown).title == "Gefunden: zuerst gepostet von Steve"
    assert list_lines(shown)[0] == "Treffer: zu **97\u00a0%** ähnlich"
    assert list_labels(shown) == ["Zum Beitrag", "Zurück", "Weiter", "2-mal gepostet", "Das ist es", "Das ist es nicht"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("**bold** _a_ ~~x~~ `c` ||s||", r"\*\*bold\*\* \_a\_ \~\~x\~\~ \`c\` \|\|s\|\|"),
        ("[click](https://evil.example)", r"\[click](https://evil.example)"),
        ("https://evil.example/a_b_", r"https://evil.example/a\_b\_"),
        ("two\n# lines", "two # lines"),
        ("one\u2028two\r\x0bthree", "one two three"),
        ("map\u202egnp.exe", r"map\\u202egnp.exe"),
        ("\u2067Steve\u200f\x1b[31m", r"\\u2067Steve\\u200f\\x1b[31m"),
        ("St\u200beve", r"St\\u200beve"),
        ("שלום 👩\u200d🚀", "שלום 👩\u200d🚀"),
        ("# heading", "# heading"),
        ("{ $filename }", "{ $filename }"),
    ],
)
def test_markup_in_names_is_escaped(name: str, shown: str) -> None:
    page = answer(piece(found(1, 0.9, user_name=name, filename=name)))
    assert (get_embed(page).title or "").endswith(shown)
    assert f"**{shown}**" in list_lines(page)[1]
    assert list_lines(page)[2] == f"File: {shown}"


@pytest.mark.parametrize("name", ["@everyone", "<@123456789012345678>", "<@&123456789012345678>"])
def test_names_mention_nobody(name: str) -> None:
    assert name not in str(get_embed(answer(piece(found(1, 0.9, user_name=name, filename=name)))).to_dict())


NAMES = st.one_of(st.text(max_size=300), st.sampled_from("*_~`|[<>@#\\").map(lambda each: each * 300), st.just("@everyone" * 60))


@given(NAMES, NAMES, st.sampled_from(["en-US", "de"]), st.sampled_from(["image", "text"]), st.booleans(), st.integers(0, 3))
def test_every_page_fits_in_a_message(name: str, filename: str, locale: str, by: str, several: bool, number: int) -> None:
    post_fields: dict[str, Any] = {"user_name": name, "filename": filename, "channel_id": "9" * 19}
    others: Sequence[FoundPost] = [found(day, **post_fields) for day in range(1, 25)] if several else []
    evidence = Evidence(by="points", points=9) if several else None
    shown = piece(found(28, 0.9, THUMBNAIL, evidence, **post_fields), *others)
    common: dict[str, Any] = {"locale": locale, "by": by, "trained": False, "number": number, "pieces": 4}
    for page in (
        answer(shown, **common),
        *(answer(shown, view="posts", page=each, **common) for each in range(3)),
        answer(shown, view="why", explanation=THUMBNAIL, **common),
    ):
        view = render_answer(page)
        check_message_body(build_body(view))
        assert all(len(picture.description) <= 1024 for picture in view.files.values())
        assert all(len(each.get("custom_id", "")) <= 100 for each in list_buttons(page))
    check_message_body(build_body(render_answer(error_answer(RejectCode.INTERNAL, name * 300))))


@given(NAMES)
def test_plain_text_is_one_short_line(name: str) -> None:
    shown = to_plain_text(name)
    assert "\n" not in shown
    assert len(shown) <= 220
    assert disnake.utils.escape_mentions(shown) == shown
