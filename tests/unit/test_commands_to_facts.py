"""The facts that Discord commands record, and the wording of their errors."""

from datetime import UTC, datetime
from typing import Any

import disnake
import pytest
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction

from contracts.errors import MapSeekError, Unavailable
from contracts.events import DiscordFile, DiscordReply, Filters
from infra.discord.answers import buttons
from infra.discord.ask.parse import MAX_QUERY_PICTURES, picture_from_attachment, pictures_from_message
from infra.discord.cogs.buttons import HANDLED_KINDS, is_outdated
from infra.discord.cogs.errors import format_error
from infra.discord.cogs.find import expand_category
from infra.discord.pictures import list_pictures
from infra.discord.translate import MAX_PIECES, query_from_interaction, require_guild_member
from infra.discord.wording import localize
from tests.support.payloads import (
    CATEGORY,
    FORUM,
    GUILD,
    GUILD_PAYLOAD,
    MESSAGE,
    OPEN,
    SECRET,
    STAFF,
    attachment,
    member_payload,
    message_payload,
    user,
)


@pytest.fixture
async def state() -> Any:
    state: Any = disnake.Client(intents=disnake.Intents(guilds=True))._connection
    bot: Any = user(1, username="MapSeek", bot=True)
    state.user = disnake.ClientUser(state=state, data=bot)
    return state


@pytest.fixture
def guild(state: Any) -> disnake.Guild:
    guild: disnake.Guild = state._add_guild_from_data(GUILD_PAYLOAD)
    return guild


def interaction(state: Any, **fields: Any) -> Any:
    payload: Any = {
        "id": str(MESSAGE),
        "type": 2,
        "token": "interaction-token",
        "version": 1,
        "application_id": "42",
        "guild_id": str(GUILD),
        "locale": "de",
        "channel": {"id": str(OPEN), "type": 0, "name": "open", "permissions": "0"},
        "member": {**member_payload(), "permissions": "0"},
        "attachment_size_limit": 10,
        "authorizing_integration_owners": {"0": str(GUILD)},
        "data": {"id": "1", "name": "find", "type": 1},
        **fields,
    }
    return ApplicationCommandInteraction(data=payload, state=state)


@pytest.mark.usefixtures("guild")
def test_a_command_becomes_a_question(state: Any) -> None:
    filters = Filters(author_id="300")
    question = query_from_interaction(interaction(state), ["201", "204"], locale="de", private=False, message_id=9, filters=filters)
    assert (question.asker.id, question.asker.name, question.top) == ("300", "Steve", MAX_PIECES)
    assert question.requested_at == datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
    assert question.reply == DiscordReply(application_id="42", token="interaction-token", message_id="9")
    assert (question.channel_id, question.locale, question.private, question.filters) == ("201", "de", False, filters)
    assert question.readable_channels == ("201", "204")
    assert "interaction-token" not in repr(question)


def test_a_server_without_the_bot_cannot_be_searched(state: Any) -> None:
    with pytest.raises(MapSeekError) as caught:
        require_guild_member(interaction(state))
    assert str(caught.value) == localize("de", "asking-not-here")


def test_the_pictures_of_a_message_are_asked_about_as_files_of_that_message() -> None:
    shown = pictures_from_message(OPEN, MESSAGE, list_pictures(message_payload([attachment(7, flags=8), attachment(9)])))
    assert [(each.filename, each.source.attachment_id, each.spoiler) for each in shown] == [
        ("map.png", "7", True),
        ("map.png", "9", False),
    ]
    assert {(each.source.channel_id, each.source.message_id) for each in shown} == {(str(OPEN), str(MESSAGE))}


def test_only_so_many_pictures_are_asked_about() -> None:
    pictures = list_pictures(message_payload([attachment(number) for number in range(1, 14)]))
    assert len(pictures_from_message(OPEN, MESSAGE, pictures)) == MAX_QUERY_PICTURES


def test_an_attached_picture_is_of_no_message(state: Any) -> None:
    data: Any = attachment(7, filename="shot.png", ephemeral=True)
    picture = picture_from_attachment(disnake.Attachment(data=data, state=state))
    assert picture.filename == "shot.png"
    assert picture.source == DiscordFile(url=data["url"], attachment_id="7")


def test_a_category_is_narrowed_to_its_channels(guild: disnake.Guild) -> None:
    assert expand_category(guild, CATEGORY) == {str(each) for each in (CATEGORY, OPEN, SECRET, STAFF)}
    assert expand_category(guild, FORUM) == {str(FORUM)}


def test_every_kind_of_button_is_answered_by_somebody() -> None:
    named = {
        value for name, value in vars(buttons).items() if name.isupper() and name != "CUSTOM_ID_PREFIX" and isinstance(value, str)
    }
    assert named == HANDLED_KINDS


@pytest.mark.parametrize(
    ("pressed", "outdated"),
    [
        ("ms0:browse:1", True),
        ("ms2:browse:1:2:piece:0:0", True),
        ("ms1:gone", True),
        ("ms1", True),
        ("ms1:browse:1:2:piece:0:0", False),
        ("ms1:forget:yes:3", False),
        ("msx:browse", False),
        ("other", False),
        ("", False),
    ],
)
def test_buttons_of_other_versions_are_known(pressed: str, outdated: bool) -> None:
    assert is_outdated(pressed) == outdated


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (MapSeekError("As it is."), "As it is."),
        (Unavailable("log", "secret"), localize("en", "failures-unavailable", reference="interaction-7")),
        (commands.NoPrivateMessage(), localize("en", "failures-only-in-servers")),
        (commands.MissingPermissions(["manage_guild"]), "You need this permission: Manage Server."),
        (
            commands.BotMissingPermissions(["add_reactions", "manage_messages"]),
            localize("en", "failures-bot-lacks", permissions="add reactions, Manage Messages"),
        ),
        (commands.CheckFailure(), localize("en", "failures-not-allowed")),
        (commands.BadArgument("secret"), localize("en", "failures-input", reference="interaction-7")),
        (RuntimeError("secret"), localize("en", "failures-broken", reference="interaction-7")),
    ],
)
def test_failures_are_worded(cause: Exception, sentence: str) -> None:
    assert format_error(cause, "en-US", "interaction-7") == sentence
    assert "secret" not in format_error(cause, "de", "interaction-7")
