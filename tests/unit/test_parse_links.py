"""Links that members search with: messages and pictures on Discord are accepted, everything else is refused."""

import pytest

from contracts.events import DiscordFile
from infra.discord.ask.parse import MessageLink, PictureLink, UnusableLink, parse_link, parse_message_link, picture_from_link

PICTURE = "https://cdn.discordapp.com/attachments/1/2/map.PNG?ex=6&is=5&hm=abc&"


@pytest.mark.parametrize("host", ["discord.com", "ptb.discord.com", "canary.discord.com", "discordapp.com", "Discord.com"])
def test_message_links_of_every_discord_client_are_parsed(host: str) -> None:
    assert parse_link(f" https://{host}/channels/1/22/333 ") == MessageLink(1, 22, 333)
    assert parse_link(f"<https://{host}/channels/1/22/333/?x=1>") == MessageLink(1, 22, 333)


def test_a_picture_link_keeps_its_signature_and_has_no_message() -> None:
    link = parse_link(PICTURE)
    assert link == PictureLink(PICTURE, "map.PNG")
    picture = picture_from_link(link)
    assert (picture.source, picture.spoiler) == (DiscordFile(url=PICTURE), False)
    assert picture_from_link(PictureLink(PICTURE, "SPOILER_map.PNG")).spoiler


def test_a_picture_from_discords_media_proxy_may_have_no_suffix() -> None:
    url = "https://media.discordapp.net/external/abc/https/a.example/picture"
    assert parse_link(url) == PictureLink(url, "picture")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "map",
        "https://discord.com/channels/@me/22/333",
        "https://discord.com/channels/1/22",
        "https://discord.com.evil.example/channels/1/22/333",
        "http://cdn.discordapp.com/attachments/1/2/map.png",
        "https://cdn.discordapp.com.evil.example/attachments/1/2/map.png",
        "https://cdn.discordapp.com:444/attachments/1/2/map.png",
        "https://me@cdn.discordapp.com/attachments/1/2/map.png",
        "https://cdn.discordapp.com@evil.example/map.png",
        "https://evil.example/?https://cdn.discordapp.com/attachments/1/2/map.png",
        "https://cdn.discordapp.com/attachments/1/2/map.png https://evil.example",
        "https://[::1/map.png",
        "http://127.0.0.1:8080/attachments/1/2/map.png",
        "file:///etc/passwd.png",
        'https://cdn.discordapp.com/attachments/1/2/map".png',
        "https://cdn.discordapp.com/attachments/1/2/map\u202e.png",
    ],
)
def test_links_to_other_sites_are_refused(text: str) -> None:
    with pytest.raises(UnusableLink, match="asking-link-unknown"):
        parse_link(text)


def test_pictures_of_an_additional_trusted_origin_are_accepted() -> None:
    url = "http://127.0.0.1:8080/attachments/1/2/map.png"
    assert parse_link(url, {"http://127.0.0.1:8080"}) == PictureLink(url, "map.png")


@pytest.mark.parametrize("path", ["attachments/1/2/map.litematic", "attachments/1/2/notes.txt?ex=1.png", ""])
def test_a_file_that_is_no_picture_is_refused(path: str) -> None:
    with pytest.raises(UnusableLink, match="asking-link-no-picture"):
        parse_link(f"https://cdn.discordapp.com/{path}")


@pytest.mark.parametrize(
    "link",
    [
        "https://discord.com/channels/7/8/10",
        "<https://canary.discord.com/channels/7/8/10>",
        "https://discordapp.com/channels/7/8/10/",
    ],
)
def test_a_message_link_is_parsed(link: str) -> None:
    assert parse_message_link(link) == MessageLink(7, 8, 10)


@pytest.mark.parametrize(
    "link",
    [
        "https://discord.com/channels/7/8",
        "https://example.org/channels/7/8/10",
        "10",
        "https://discord.com.evil.org/channels/7/8/10",
    ],
)
def test_other_texts_are_no_message_link(link: str) -> None:
    assert parse_message_link(link) is None
