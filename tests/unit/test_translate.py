from datetime import UTC, datetime
from typing import Any

import disnake
import pytest
from disnake.interactions import ApplicationCommandInteraction

from contracts.errors import MapSeekError
from contracts.events import DiscordFile, DiscordReply, ImagePosted
from infra.discord.archiving import is_watched
from infra.discord.attachments import url_in
from infra.discord.translate import facts_of_message, readable_channels, search_of

GUILD, MEMBER, OWNER, STRANGER = 100, 300, 301, 302
EVERYONE, READERS = GUILD, 110
CATEGORY, OPEN, SECRET, STAFF, FORUM = 200, 201, 202, 203, 204
MESSAGE = disnake.utils.time_snowflake(datetime(2024, 3, 1, 12, 30, tzinfo=UTC))
VIEW, HISTORY, MANAGE_THREADS = 1 << 10, 1 << 16, 1 << 34

Json = dict[str, Any]


def user(user_id: int = MEMBER, **fields: Any) -> Json:
    return {"id": str(user_id), "username": "steve", "global_name": "Steve", "discriminator": "0", "avatar": None, **fields}


def role(role_id: int, permissions: int) -> Json:
    return {
        "id": str(role_id),
        "name": str(role_id),
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "color": 0,
        "hoist": False,
        "position": 0,
        "permissions": str(permissions),
        "managed": False,
        "mentionable": False,
    }


def channel(channel_id: int, kind: int = 0, parent: int | None = CATEGORY, **deny_or_allow: int) -> Json:
    overwrites = [{"id": str(EVERYONE), "type": 0, "allow": "0", "deny": str(deny_or_allow.get("deny", 0))}]
    if allow := deny_or_allow.get("allow"):
        overwrites.append({"id": str(READERS), "type": 0, "allow": str(allow), "deny": "0"})
    return {
        "id": str(channel_id),
        "type": kind,
        "name": str(channel_id),
        "position": 0,
        "parent_id": str(parent) if parent else None,
        "permission_overwrites": overwrites,
        "available_tags": [],
    }


def thread(thread_id: int, parent: int, kind: int = 11) -> Json:
    return {
        "id": str(thread_id),
        "guild_id": str(GUILD),
        "parent_id": str(parent),
        "owner_id": str(OWNER),
        "type": kind,
        "name": str(thread_id),
        "message_count": 1,
        "member_count": 1,
        "rate_limit_per_user": 0,
        "thread_metadata": {
            "archived": False,
            "auto_archive_duration": 60,
            "archive_timestamp": "2024-03-01T00:00:00+00:00",
            "locked": False,
        },
    }


GUILD_PAYLOAD: Json = {
    "id": str(GUILD),
    "name": "G",
    "owner_id": str(OWNER),
    "roles": [role(EVERYONE, VIEW | HISTORY), role(READERS, 0), role(111, MANAGE_THREADS)],
    "channels": [
        channel(CATEGORY, kind=4, parent=None),
        channel(OPEN),
        channel(SECRET, deny=VIEW, allow=VIEW),
        channel(STAFF, deny=HISTORY),
        channel(FORUM, kind=15, parent=None),
    ],
    "threads": [
        thread(401, OPEN),
        thread(402, SECRET),
        thread(403, OPEN, kind=12),
        thread(404, OPEN, kind=12),
        thread(405, FORUM),
    ],
    "features": [],
    "emojis": [],
    "stickers": [],
    "verification_level": 0,
    "default_message_notifications": 0,
    "explicit_content_filter": 0,
    "mfa_level": 0,
    "nsfw_level": 0,
    "premium_tier": 0,
    "preferred_locale": "en-US",
    "system_channel_flags": 0,
    "afk_timeout": 60,
    "premium_progress_bar_enabled": False,
    "description": None,
}


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


def attachment(number: int, **fields: Any) -> Json:
    url = f"https://cdn.discordapp.com/attachments/{OPEN}/{number}/map.png?ex=1"
    return {
        "id": str(number),
        "filename": "map.png",
        "size": 10,
        "url": url,
        "proxy_url": url,
        "content_type": "image/png",
        **fields,
    }


def message_payload(attachments: list[Json] | None = None, embeds: list[Json] | None = None, **fields: Any) -> Json:
    return {
        "id": str(MESSAGE),
        "channel_id": str(OPEN),
        "author": user(),
        "content": "look",
        "edited_timestamp": None,
        "type": 0,
        "pinned": False,
        "mention_everyone": False,
        "tts": False,
        "attachments": attachments or [],
        "embeds": embeds or [],
        **fields,
    }


def facts(guild: disnake.Guild, *attachments: Json, embeds: list[Json] | None = None, channel_id: int = OPEN) -> list[ImagePosted]:
    payload: Any = message_payload(list(attachments), embeds)
    place: Any = guild.get_channel_or_thread(channel_id)
    return facts_of_message(disnake.Message(state=guild._state, channel=place, data=payload))


def test_an_attachment_becomes_a_fact_with_all_that_discord_tells(guild: disnake.Guild) -> None:
    (fact,) = facts(guild, attachment(7, filename="Sunset.PNG", size=1234, width=128, height=256))
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


def test_every_one_of_eleven_attachments_counts(guild: disnake.Guild) -> None:
    posted = facts(guild, *(attachment(number) for number in range(1, 12)))
    assert [fact.image_id for fact in posted] == [str(number) for number in range(1, 12)]
    assert len({fact.key for fact in posted}) == 11


@pytest.mark.parametrize(
    ("content_type", "filename", "is_posted"),
    [
        ("image/webp", "anything", True),
        ("IMAGE/PNG", "anything", True),
        ("text/plain; charset=utf-8", "map.png", False),
        ("video/mp4", "map.gif", False),
        (None, "map.JPEG", True),
        (None, "map.webp", True),
        (None, "map.schematic", False),
        (None, "png", False),
    ],
)
def test_what_counts_as_an_image(guild: disnake.Guild, content_type: str | None, filename: str, is_posted: bool) -> None:
    assert len(facts(guild, attachment(1, content_type=content_type, filename=filename))) == is_posted


def test_pictures_of_embeds_are_images_too(guild: disnake.Guild) -> None:
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
    big, link = facts(guild, embeds=embeds)
    assert (big.image_id, big.filename, big.width, big.height) == (f"{MESSAGE}-1", "big.png", 9, 8)
    assert big.source == DiscordFile(
        url="https://p.example/x/big.png", channel_id="201", message_id=str(MESSAGE), attachment_id=f"{MESSAGE}-1"
    )
    assert (link.image_id, link.source.url, link.width, link.height) == (f"{MESSAGE}-2", "https://a.example/b.png", None, None)


def test_a_message_in_a_thread_belongs_to_the_thread(guild: disnake.Guild) -> None:
    (fact,) = facts(guild, attachment(1), channel_id=401)
    assert (fact.channel_id, fact.message_link) == ("401", f"https://discord.com/channels/100/401/{MESSAGE}")


def test_a_direct_message_is_private(state: Any) -> None:
    place = disnake.DMChannel._from_message(state, 5, MEMBER)
    message = disnake.Message(state=state, channel=place, data=message_payload([attachment(1)]))
    assert facts_of_message(message) == []


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
def test_which_channels_are_watched(guild: disnake.Guild, channels: frozenset[str] | None, watched: bool) -> None:
    assert is_watched(guild.get_channel(OPEN), channels) == watched


@pytest.mark.parametrize(("channels", "watched"), [({"401"}, True), ({"201"}, True), ({"200"}, True), ({"404"}, False)])
def test_a_thread_is_watched_with_its_parent(guild: disnake.Guild, channels: set[str], watched: bool) -> None:
    assert is_watched(guild.get_thread(401), frozenset(channels)) == watched


def member(guild: disnake.Guild, *roles: int, user_id: int = MEMBER) -> disnake.Member:
    payload: Any = member_payload(*roles, user_id=user_id)
    return disnake.Member(data=payload, guild=guild, state=guild._state)


def member_payload(*roles: int, user_id: int = MEMBER) -> Json:
    return {"user": user(user_id), "roles": [str(each) for each in roles], "joined_at": "2024-01-01T00:00:00+00:00", "flags": 0}


@pytest.mark.parametrize(
    ("roles", "user_id", "readable"),
    [
        ((), MEMBER, {OPEN, FORUM, 401, 404, 405}),
        ((READERS,), MEMBER, {OPEN, SECRET, FORUM, 401, 402, 404, 405}),
        ((111,), STRANGER, {OPEN, FORUM, 401, 403, 404, 405}),
        ((), STRANGER, {OPEN, FORUM, 401, 405}),
        ((), OWNER, {OPEN, SECRET, STAFF, FORUM, 401, 402, 403, 404, 405}),
    ],
)
def test_which_channels_an_asker_may_read(guild: disnake.Guild, roles: tuple[int, ...], user_id: int, readable: set[int]) -> None:
    assert set(readable_channels(guild, member(guild, *roles, user_id=user_id))) == {str(each) for each in readable}


def interaction(state: Any, **fields: Any) -> Any:
    payload: Any = {
        "id": str(MESSAGE),
        "type": 2,
        "token": "interaction-token",
        "version": 1,
        "application_id": "42",
        "guild_id": str(GUILD),
        "locale": "en-GB",
        "channel": {"id": str(OPEN), "type": 0, "name": "open", "permissions": "0"},
        "member": {**member_payload(), "permissions": "0"},
        "attachment_size_limit": 10,
        "authorizing_integration_owners": {"0": str(GUILD)},
        "data": {"id": "1", "name": "find", "type": 1},
        **fields,
    }
    return ApplicationCommandInteraction(data=payload, state=state)


@pytest.fixture
def image(state: Any) -> disnake.Attachment:
    data: Any = attachment(7, filename="shot.png", ephemeral=True)
    return disnake.Attachment(data=data, state=state)


def test_a_command_becomes_a_question(state: Any, guild: disnake.Guild, image: disnake.Attachment) -> None:
    event = search_of(interaction(state), image)
    assert (event.guild_id, event.search_id, event.filename) == ("100", str(MESSAGE), "shot.png")
    assert event.source == DiscordFile(url=image.url, attachment_id="7")
    question = event.question
    assert (question.asker.id, question.asker.name, question.top) == ("300", "Steve", 3)
    assert question.requested_at == datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
    assert question.reply == DiscordReply(application_id="42", token="interaction-token")
    assert set(question.readable_channels or ()) == {"201", "204", "401", "404", "405"}
    assert "interaction-token" not in repr(event)


def test_a_server_without_the_bot_cannot_be_searched(state: Any, image: disnake.Attachment) -> None:
    with pytest.raises(MapSeekError, match="added to"):
        search_of(interaction(state), image)


def test_urls_are_found_by_image_id() -> None:
    embeds = [{"type": "rich"}, {"type": "image", "thumbnail": {"url": "https://a/b.png", "proxy_url": "https://p/b.png"}}]
    payload = message_payload([attachment(7), attachment(8, url="https://cdn/8")], embeds)
    assert url_in(payload, "8") == "https://cdn/8"
    assert url_in(payload, f"{MESSAGE}-1") == "https://p/b.png"
    assert url_in(payload, f"{MESSAGE}-0") is None
    assert url_in(payload, "9") is None
