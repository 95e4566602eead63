"""What a message shows, for the kinds of messages that Discord sends today."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from infra.discord.pictures import (
    PostedMessage,
    UnreadableMessage,
    find_message_id,
    list_pictures,
    may_be_picture,
    read_address,
    read_message,
)
from tests.support.payloads import MESSAGE, Json, attachment, message_payload

CDN = "https://cdn.discordapp.com/attachments/201"
SIGNED = "?ex=1&is=1&hm=0&"


def media(url: str, **fields: Any) -> Json:
    return {"url": url, "proxy_url": url, "width": 128, "height": 128, "content_type": "image/png", **fields}


def gallery(*items: Json, **fields: Any) -> Json:
    return {"type": 12, "id": 1, "items": [{"media": each, "description": None, "spoiler": False} for each in items], **fields}


def uploaded(number: int, name: str = "map.png", **fields: Any) -> Json:
    return media(f"{CDN}/{number}/{name}{SIGNED}", attachment_id=str(number), **fields)


def forward(**snapshot: Any) -> list[Json]:
    return [{"message": {"type": 0, "content": "", "attachments": [], "embeds": [], "components": [], "flags": 0, **snapshot}}]


def show(**fields: Any) -> list[tuple[str, bool]]:
    """Return the name of each picture that a message shows, and whether it is a spoiler."""
    return [(picture.filename, picture.spoiler) for picture in list_pictures(message_payload(**fields))]


@pytest.mark.parametrize(
    ("components", "names"),
    [
        ([gallery(uploaded(1, "a.png"), uploaded(2, "b.webp"))], ["a.png", "b.webp"]),
        ([gallery(media("https://example.org/x.png"))], ["x.png"]),
        ([gallery(uploaded(1, "a.mp4", content_type="video/mp4"), uploaded(2, "b.mp4", content_type=None))], []),
        ([gallery(media("https://example.org/picture", content_type=None, width=None, height=None))], ["picture"]),
        ([{"type": 9, "components": [{"type": 10}], "accessory": {"type": 11, "media": uploaded(3)}}], ["map.png"]),
        ([{"type": 9, "components": [], "accessory": {"type": 2, "label": "a button"}}], []),
        ([{"type": 13, "file": uploaded(4, "x.png"), "name": "a picture.png"}], ["a picture.png"]),
        ([{"type": 13, "file": uploaded(4, "x.zip", content_type="application/zip", width=None), "name": "x.zip"}], []),
        ([{"type": 17, "components": [{"type": 17, "components": [gallery(uploaded(5))]}, gallery(uploaded(6))]}], ["map.png"] * 2),
        ([{"type": 99, "components": [gallery(uploaded(7))]}, {"type": 98, "component": gallery(uploaded(8))}], ["map.png"] * 2),
        ([{"type": 10, "content": "text"}, {"type": 14}, {"type": 1, "components": [{"type": 2, "custom_id": "b"}]}], []),
        (None, []),
    ],
)
def test_pictures_of_components(components: Any, names: list[str]) -> None:
    assert [name for name, _ in show(components=components, flags=1 << 15)] == names
    assert [name for name, _ in show(message_snapshots=forward(components=components))] == names


@pytest.mark.parametrize(
    ("embed", "count"),
    [
        ({"type": "rich", "image": media("https://e.org/a.png")}, 1),
        ({"type": "rich", "image": media("https://e.org/a.png"), "thumbnail": media("https://e.org/b.png")}, 2),
        ({"type": "image", "thumbnail": media("https://e.org/a.png")}, 1),
        ({"type": "article", "thumbnail": media("https://e.org/a.png")}, 1),
        ({"type": "gifv", "thumbnail": media("https://e.org/a.png"), "video": {"url": "https://e.org/a.mp4"}}, 0),
        ({"type": "video", "thumbnail": media("https://e.org/a.png")}, 0),
        ({"type": "rich", "thumbnail": media("https://e.org/a.png"), "video": {"url": "https://e.org/a.mp4"}}, 0),
        ({"type": "rich", "author": {"icon_url": "https://e.org/i.png"}, "footer": {"icon_url": "https://e.org/i.png"}}, 0),
        ({"type": "rich", "image": None, "thumbnail": None}, 0),
        ({"image": media("https://e.org/a.png")}, 1),
    ],
)
def test_pictures_of_embeds(embed: Json, count: int) -> None:
    assert len(show(embeds=[embed])) == count
    assert len(show(message_snapshots=forward(embeds=[embed]))) == count
    assert show(embeds=[embed], flags=1 << 2) == []


def test_a_picture_that_is_shown_in_several_ways_is_one_picture_and_a_spoiler_in_one_of_them_is_one() -> None:
    embed = {"type": "rich", "image": media(f"{CDN}/7/map.png?ex=9")}
    [picture] = list_pictures(message_payload([attachment(7)], [embed, embed], components=[gallery(uploaded(7), spoiler=True)]))
    assert (picture.image_id, picture.address, picture.spoiler) == ("7", "7", True)


@pytest.mark.parametrize(
    "fields",
    [
        {"attachments": [attachment(1, flags=8)]},
        {"attachments": [attachment(1, filename="SPOILER_map.png")]},
        {"components": [{"type": 12, "items": [{"media": uploaded(1), "spoiler": True}]}]},
        {"components": [{"type": 13, "file": uploaded(1), "spoiler": True}]},
        {"components": [{"type": 9, "accessory": {"type": 11, "media": uploaded(1), "spoiler": True}}]},
        {"components": [{"type": 17, "spoiler": True, "components": [{"type": 17, "components": [gallery(uploaded(1))]}]}]},
        {"message_snapshots": forward(attachments=[attachment(1, flags=12)])},
        {"embeds": [{"type": "rich", "image": media(f"{CDN}/1/SPOILER_map.png{SIGNED}")}]},
    ],
)
def test_spoilers(fields: Json) -> None:
    assert [spoiler for _, spoiler in show(**fields)] == [True]


def test_the_copies_of_crossposts_and_forwards_are_images_of_their_own() -> None:
    """They have the attachments of the original, which may be in the same guild."""
    for fields in ({"attachments": [attachment(7)], "flags": 2}, {"message_snapshots": forward(attachments=[attachment(7)])}):
        [picture] = list_pictures(message_payload(**fields))
        assert picture.image_id == f"{MESSAGE}-7"
    [original] = list_pictures(message_payload([attachment(7)], flags=1))
    assert original.image_id == "7"


def test_the_title_is_the_name_that_people_see() -> None:
    assert show(attachments=[attachment(1, filename="image0.png", title="мапа")]) == [("мапа", False)]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"{CDN}/7/map.png?ex=1&is=2&hm=3&", "7"),
        ("https://media.discordapp.net/attachments/201/7/map.png?ex=9&is=9&hm=9&width=600&height=400&format=webp", "7"),
        ("https://cdn.discordapp.com/ephemeral-attachments/9/7/map.png", "7"),
        ("http://127.0.0.1:8000/attachments/201/7/map.png?ex=1&is=2&hm=3", "7"),
        ("https://example.org/attachments/201/7/map.png", "https://example.org/attachments/201/7/map.png"),
        ("https://CDN.discordapp.com/emojis/1.png?size=96&ex=1&is=2&hm=3", "https://cdn.discordapp.com/emojis/1.png?size=96"),
        ("https://Example.org/A.png?hm=1&x=2#part", "https://example.org/A.png?hm=1&x=2"),
        ("https://images-ext-1.discordapp.net/external/Ab-_9/https/example.org/A.png", "https://example.org/A.png"),
        ("https://images-ext-2.discordapp.net/external/Ab/%3Fx%3D1%26y%3D2/http/e.org/a", "http://e.org/a?x=1&y=2"),
    ],
)
def test_a_picture_is_known_by_its_address(url: str, address: str) -> None:
    assert read_address(url) == address


@pytest.mark.parametrize(
    ("filename", "content_type", "sides", "fetched"),
    [
        ("map.png", None, (None, None), True),
        ("MAP.JPEG", "application/octet-stream", (None, None), True),
        ("map", "image/x-unknown", (None, None), True),
        ("map", None, (128, 128), True),
        ("map.dat", "application/octet-stream", (128, 128), True),
        ("map.dat", "application/octet-stream", (None, None), False),
        ("a.txt", "text/plain", (128, 128), False),
        ("a.mov", None, (1920, 1080), False),
        ("a", "video/mp4", (1920, 1080), False),
        ("a.ogg", "audio/ogg", (None, None), False),
    ],
)
def test_what_is_worth_fetching(
    filename: str, content_type: str | None, sides: tuple[int | None, int | None], fetched: bool
) -> None:
    assert may_be_picture(filename, content_type, *sides) == fetched


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"author": None}, "TypeError"),
        ({"author": {"id": "1"}}, "the field 'username' is missing"),
        ({"id": "not a number"}, "ValueError"),
        ({"attachments": [{"id": "1"}]}, "the field 'filename' is missing"),
        ({"attachments": [attachment(1, url="file:///etc/passwd")]}, "no address of the web"),
        ({"attachments": [None]}, "TypeError"),
        ({"attachments": "many"}, "TypeError"),
        ({"embeds": [["rich"]]}, "AttributeError"),
        ({"components": [{"items": 7}]}, "TypeError"),
        ({"message_snapshots": [{}]}, "the field 'message' is missing"),
        ({"flags": "loud"}, "ValueError"),
    ],
)
def test_a_message_that_cannot_be_read_says_why(fields: Json, reason: str) -> None:
    payload = message_payload() | fields
    with pytest.raises(UnreadableMessage, match=reason):
        read_message(payload)


def test_every_payload_has_a_number() -> None:
    assert find_message_id({"id": "12"}) == 12
    broken: list[Any] = [{}, {"id": None}, {"id": "x"}, None, {"id": "x", "content": "\ud83d"}]
    numbers = [find_message_id(each) for each in broken]
    assert len(set(numbers)) == len(broken)
    assert max(numbers) < 1 << 57


def read(**fields: Any) -> PostedMessage:
    return read_message(message_payload(**fields))


def test_who_posted_and_what_a_message_stands_for() -> None:
    assert (read().by_person, read(webhook_id="9").by_person) == (True, False)
    assert read(author={"id": "1", "username": "b", "bot": True}).by_person is False
    assert read(member={"nick": "Nick"}).author.name == "Nick"
    assert read(author={"id": "1", "username": "plain", "global_name": None}).author.name == "plain"
    reference = {"type": 0, "channel_id": "201", "message_id": "84", "guild_id": "100"}
    assert read(type=21, message_reference=reference).stands_for == (201, 84)
    assert read(type=19, message_reference=reference).stands_for is None
    assert (read().edited, read(edited_timestamp="2024-01-01T00:00:00+00:00").edited) == (False, True)


CASES = os.environ.get("MAPSEEK_DISCORD_OPENAPI")


@pytest.mark.skipif(not CASES, reason="MAPSEEK_DISCORD_OPENAPI does not name Discord's document: its messages are not at hand")
def test_the_messages_that_discord_sends() -> None:
    cases = json.loads(Path(CASES or "").with_name("messages.json").read_text())
    wrong = [case["label"] for case in cases if len(list_pictures(message_payload() | case["message"])) != case["pictures"]]
    assert wrong == []
