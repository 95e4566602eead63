"""Messages of disnake become facts: which images a message has, and whose they are."""

from datetime import UTC, datetime
from typing import Any

import disnake
import pytest

from contracts.events import DiscordFile, ImagePosted
from contracts.subjects import subject_of
from infra.discord.archive.intake import is_listed
from infra.discord.gateway import DISCORD, parse_discord_json
from infra.discord.pictures import find_picture, list_pictures, read_message
from infra.discord.translate import posts_from_message
from infra.nats.reader import decode_fact, encode_body
from tests.support.payloads import GUILD_PAYLOAD, MEMBER, MESSAGE, OPEN, Json, attachment, message_payload, user


@pytest.fixture
async def state() -> Any:
    state = disnake.Client(intents=disnake.Intents(guilds=True))._connection
    bot: Any = user(1, username="MapSeek", bot=True)
    state.user = disnake.ClientUser(state=state, data=bot)
    return state


@pytest.fixture
def guild(state: Any) -> disnake.Guild:
    guild = state._add_guild_from_data(GUILD_PAYLOAD)
    invited: Any = {"id": "404", "user_id": str(MEMBER), "join_timestamp": "2024-03-01T00:00:00+00:00", "flags": 0}
    guild.get_thread(404)._add_member(disnake.ThreadMember(guild.get_thread(404), invited))
    return guild


def build_facts(
    guild: disnake.Guild, *attachments: Json, embeds: list[Json] | None = None, channel_id: int = OPEN
) -> list[ImagePosted]:
    payload = message_payload(list(attachments), embeds)
    return posts_from_message(read_message(payload), guild.get_channel_or_thread(channel_id))


def test_the_fact_of_an_attachment_has_all_its_fields(guild: disnake.Guild) -> None:
    (fact,) = build_facts(guild, attachment(7, filename="Sunset.PNG", size=1234, width=128, height=256))
    assert fact == ImagePosted(
        guild_id="100",
        channel_id="201",
        image_id="7",
        message_id=str(MESSAGE),
        author={"id": "300", "name": "Steve"},
        posted_at=datetime(2024, 3, 1, 12, 30, tzinfo=UTC),
        filename="Sunset.PNG",
        message_link=f"https://discord.com/channels/100/201/{MESSAGE}",
        source=DiscordFile(
            url="https://cdn.discordapp.com/attachments/201/7/map.png?ex=1",
            channel_id="201",
            message_id=str(MESSAGE),
            attachment_id="7",
        ),
        content_type="image/png",
        size=1234,
        width=128,
        height=256,
    )


def test_each_of_eleven_attachments_becomes_a_fact(guild: disnake.Guild) -> None:
    posted = build_facts(guild, *(attachment(number) for number in range(1, 12)))
    assert [fact.image_id for fact in posted] == [str(number) for number in range(1, 12)]
    assert len({fact.key for fact in posted}) == 11


@pytest.mark.parametrize(
    ("content_type", "filename", "is_posted"),
    [
        ("image/webp", "anything", True),
        ("IMAGE/PNG", "anything", True),
        ("text/plain; charset=utf-8", "map.png", True),
        ("application/octet-stream", "map.JPG", True),
        ("video/mp4", "map.gif", True),
        ("text/plain; charset=utf-8", "map.txt", False),
        ("video/mp4", "map", False),
        (None, "map.JPEG", True),
        (None, "map.webp", True),
        (None, "IMG_0001.HEIC", True),
        (None, "map.schematic", False),
        (None, "png", False),
    ],
)
def test_content_type_or_suffix_is_enough_to_fetch_a_file(
    guild: disnake.Guild, content_type: str | None, filename: str, is_posted: bool
) -> None:
    assert len(build_facts(guild, attachment(1, content_type=content_type, filename=filename))) == is_posted


def test_pictures_of_embeds_become_facts(guild: disnake.Guild) -> None:
    embeds: list[Json] = [
        {"type": "rich", "title": "no picture"},
        {
            "type": "rich",
            "image": {"url": "https://a.example/big.png", "proxy_url": "https://p.example/x/big.png", "width": 9, "height": 8},
        },
        {
            "type": "image",
            "url": "https://a.example/b.png",
            "thumbnail": {"url": "https://a.example/b.png", "width": 0, "height": 0},
        },
        {"type": "article", "thumbnail": {"url": "https://a.example/logo.png", "proxy_url": "https://p.example/logo.png"}},
    ]
    big, link, logo = build_facts(guild, embeds=embeds)
    assert (big.filename, big.width, big.height) == ("big.png", 9, 8)
    assert big.source == DiscordFile(
        url="https://p.example/x/big.png", channel_id="201", message_id=str(MESSAGE), attachment_id=big.image_id
    )
    assert (link.source.url, link.width, link.height) == ("https://a.example/b.png", None, None)
    assert logo.filename == "logo.png"
    assert len({big.image_id, link.image_id, logo.image_id}) == 3
    assert all(each.image_id.startswith(f"{MESSAGE}-") for each in (big, link, logo))


@pytest.mark.parametrize(
    ("thread_id", "parent"), [(401, "201"), (402, "202"), (405, "204"), (403, None), (404, None), (OPEN, None)]
)
def test_an_image_in_a_public_thread_has_the_audience_of_its_channel(
    guild: disnake.Guild, thread_id: int, parent: str | None
) -> None:
    (fact,) = build_facts(guild, attachment(1), channel_id=thread_id)
    assert (fact.channel_id, fact.thread_of, fact.audience_channel_id) == (str(thread_id), parent, parent or str(thread_id))


def build_forward(*attachments: Json, embeds: list[Json] | None = None) -> Json:
    snapshot = {
        "type": 0,
        "content": "",
        "attachments": list(attachments),
        "embeds": embeds or [],
        "timestamp": "2024-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "mentions": [],
        "mention_roles": [],
    }
    reference = {"type": 1, "message_id": "1", "channel_id": "2", "guild_id": "3"}
    return message_payload(message_reference=reference, message_snapshots=[{"message": snapshot}])


def test_a_forwarded_image_is_a_new_post_of_the_member_who_forwards_it(guild: disnake.Guild) -> None:
    unfolded = {"type": "image", "thumbnail": {"url": "https://a.example/b.png"}}
    payload = build_forward(attachment(7), attachment(8, filename="a.txt", content_type="text/plain"), embeds=[unfolded])
    attached, embedded = posts_from_message(read_message(payload), guild.get_channel(OPEN))
    assert (attached.image_id, attached.message_id, attached.author.name) == (f"{MESSAGE}-7", str(MESSAGE), "Steve")
    assert (attached.channel_id, embedded.filename) == (str(OPEN), "b.png")


def test_a_spoiler_is_recorded_as_one(guild: disnake.Guild) -> None:
    facts = build_facts(guild, attachment(1, filename="SPOILER_a.png"), attachment(2, filename="a_SPOILER_.png"))
    assert [fact.spoiler for fact in facts] == [True, False]
    payload = build_forward(attachment(7, filename="SPOILER_a.png"))
    (forwarded,) = posts_from_message(read_message(payload), guild.get_channel(OPEN))
    assert forwarded.spoiler


def test_an_image_in_a_thread_has_the_threads_id_and_link(guild: disnake.Guild) -> None:
    (fact,) = build_facts(guild, attachment(1), channel_id=401)
    assert (fact.channel_id, fact.message_link) == ("401", f"https://discord.com/channels/100/401/{MESSAGE}")


def test_a_direct_message_has_no_facts(state: Any) -> None:
    place = disnake.DMChannel._from_message(state, 5, MEMBER)
    assert posts_from_message(read_message(message_payload([attachment(1)])), place) == []


@pytest.mark.parametrize(
    ("channels", "watched"),
    [
        (None, True),
        (frozenset({"all"}), True),
        (frozenset({"201"}), True),
        (frozenset({"200"}), True),
        (frozenset({"401"}), False),
        (frozenset({"100", "202", "20"}), False),
        (frozenset(), False),
    ],
)
def test_a_channel_is_watched_by_its_id_or_its_category(
    guild: disnake.Guild, channels: frozenset[str] | None, watched: bool
) -> None:
    assert is_listed(guild.get_channel(OPEN), channels) == watched


@pytest.mark.parametrize(("channels", "watched"), [({"401"}, True), ({"201"}, True), ({"200"}, True), ({"404"}, False)])
def test_a_thread_is_watched_with_its_parent(guild: disnake.Guild, channels: set[str], watched: bool) -> None:
    assert is_listed(guild.get_thread(401), frozenset(channels)) == watched


def test_an_embed_whose_address_is_not_of_the_web_shows_no_picture() -> None:
    """A webhook writes its embeds itself."""
    hostile = [{"type": "rich", "image": {"url": url}} for url in ("javascript:alert(1)", "attachment://a.png", "https://a b")]
    proxied = {"type": "rich", "image": {"url": "data:,", "proxy_url": "https://p/a.png"}}
    assert [picture.url for picture in list_pictures(message_payload(embeds=[*hostile, proxied]))] == ["https://p/a.png"]


def test_a_picture_is_found_again_by_its_id_or_its_address() -> None:
    proxy = "https://images-ext-1.discordapp.net/external/Ab_-1/%3Fsize%3D2/https/a.example/b.png"
    embeds = [{"type": "rich"}, {"type": "image", "thumbnail": {"url": "https://a.example/b.png?size=2", "proxy_url": proxy}}]
    fresh = "https://cdn.discordapp.com/attachments/201/8/map.png?ex=2&is=2&hm=2&"
    attached, linked = pictures = list_pictures(message_payload([attachment(8, url=fresh)], embeds))
    old_address = fresh.replace("=2", "=1").replace("cdn.discordapp.com", "media.discordapp.net")
    assert find_picture(pictures, "8", "https://elsewhere/") == find_picture(pictures, "5", old_address) == attached
    assert find_picture(pictures, f"{MESSAGE}-1", proxy) == find_picture(pictures, linked.image_id, "https://x/") == linked
    assert find_picture(pictures, f"{MESSAGE}-1", "https://a.example/b.png?size=3") is None


def test_names_that_utf_8_cannot_hold_and_names_with_controls_are_recorded(guild: disnake.Guild) -> None:
    names = parse_discord_json(r'["\ud800.png", "a\u202e\n\u001b.png", "\ud83d\udc69.png"]')
    facts = build_facts(guild, *(attachment(7 + number, filename=name) for number, name in enumerate(names)))
    assert [fact.filename for fact in facts] == [r"\ud800.png", "a\u202e\n\x1b.png", "\U0001f469.png"]
    assert [decode_fact(subject_of(fact), {}, encode_body(fact)).fact for fact in facts] == facts


def test_an_author_with_half_a_character_in_their_name_is_recorded(guild: disnake.Guild) -> None:
    payload = message_payload([attachment(7)], None) | {"author": user(global_name=parse_discord_json(rb'"Ste\udc76ve"'))}
    (fact,) = posts_from_message(read_message(payload), guild.get_channel_or_thread(OPEN))
    assert fact.author.name == r"Ste\udc76ve"
    assert encode_body(fact)


def test_json_of_discord_is_read_and_anything_else_is_refused() -> None:
    text = '{"a": [1, 2.5, null, true, "\u00fc"]}'
    for given in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode())):
        assert parse_discord_json(given) == {"a": [1, 2.5, None, True, "\u00fc"]}
    with pytest.raises(ValueError, match="Expecting"):
        parse_discord_json("{")


def test_the_client_reads_half_a_character() -> None:
    DISCORD.use()
    assert disnake.utils._from_json(r'{"content": "\ud83d"}') == {"content": "\ud83d"}
