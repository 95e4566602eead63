"""Commands with subcommands, options of every type and languages; message commands; and which commands a member is offered."""

from collections.abc import AsyncIterator
from typing import Any

import disnake
import pytest
from disnake import Option, OptionChoice, OptionType
from disnake.ext import commands

from contracts.errors import MapSeekError
from infra.sandbox.simulator import Channel, Guild, Member, Overwrite, Permission, Simulator
from tests.support.gateway import RecordingBot, log_in, png_file

ALL_OPTIONS = [
    Option("text", "A text", OptionType.string, min_length=2, max_length=5),
    Option("count", "A number", OptionType.integer, min_value=1, max_value=9),
    Option("share", "A fraction", OptionType.number),
    Option("private", "Yes or no", OptionType.boolean),
    Option("who", "Somebody", OptionType.user),
    Option("where", "A channel", OptionType.channel, channel_types=[disnake.ChannelType.text]),
    Option("role", "A role", OptionType.role),
    Option("anyone", "Somebody or a role", OptionType.mentionable),
    Option("file", "A file", OptionType.attachment),
    Option("since", "When", OptionType.string, choices=[OptionChoice("A week", "week"), OptionChoice("A year", "year")]),
]


class Commands(commands.Cog):
    """One command of every kind. The tests read what arrives from the client's events."""

    @commands.slash_command(default_member_permissions=disnake.Permissions(manage_guild=True))
    async def archive(self, inter: disnake.ApplicationCommandInteraction) -> None:
        """Administration."""

    @archive.sub_command_group()
    async def watch(self, inter: disnake.ApplicationCommandInteraction) -> None:
        """Channels."""

    @watch.sub_command(options=[Option("channel", "Which", OptionType.channel, required=True)])
    async def add(self, inter: disnake.ApplicationCommandInteraction, channel: Any) -> None:
        """Watch one more."""
        await inter.response.send_message(f"watching {channel.name}")

    @archive.sub_command()
    async def status(self, inter: disnake.ApplicationCommandInteraction) -> None:
        """Show the progress."""
        await inter.response.send_message("fine", ephemeral=True)

    @commands.slash_command(options=ALL_OPTIONS)
    async def everything(self, inter: disnake.ApplicationCommandInteraction, **given: Any) -> None:
        """Every type of option."""

    @commands.slash_command(nsfw=True)
    async def grown(self, inter: disnake.ApplicationCommandInteraction) -> None:
        """Age-restricted."""

    @commands.slash_command(contexts=disnake.InteractionContextTypes(bot_dm=True))
    async def alone(self, inter: disnake.ApplicationCommandInteraction) -> None:
        """Only in direct messages."""

    @commands.slash_command(name=disnake.Localized("hello", data={"de": "hallo"}))
    async def hello(self, inter: disnake.ApplicationCommandInteraction) -> None:
        """Hello."""
        await inter.response.send_message(f"{inter.locale} in {inter.guild_locale}")

    @commands.message_command(name="Find this map")
    async def find_this(self, inter: disnake.ApplicationCommandInteraction, message: disnake.Message) -> None:
        await inter.response.send_message(f"{message.content}: {[each.filename for each in message.attachments]}")


@pytest.fixture
async def client(sim: Simulator, channel: Channel) -> AsyncIterator[RecordingBot]:
    async with log_in(sim, cog=Commands()) as bot:
        yield bot


@pytest.fixture
def admin(sim: Simulator, guild: Guild) -> Member:
    return sim.add_member(guild, "Alex", [sim.add_role(guild, "Admins", Permission.MANAGE_GUILD)])


async def test_a_command_in_a_group_is_used_with_its_option(
    sim: Simulator, client: RecordingBot, channel: Channel, admin: Member
) -> None:
    interaction = await sim.slash(channel, admin, "archive watch add", options={"channel": channel})
    answer = await sim.answer(interaction)
    assert (answer.content, answer.ephemeral) == ("watching gallery", False)
    inter = await client.next("application_command")
    assert inter.data.options[0].options[0].options[0].value.id == channel.id
    assert answer.message.interaction is interaction
    assert (await client.get_channel(channel.id).fetch_message(answer.message.id)).interaction_metadata.id == interaction.id
    assert (await sim.answer(await sim.slash(channel, admin, "archive status"))).ephemeral


@pytest.mark.parametrize("path", ["archive", "archive watch", "archive watch lose", "archive watch add", "archive status now"])
async def test_a_command_without_its_subcommand_cannot_be_sent(
    sim: Simulator, client: RecordingBot, channel: Channel, admin: Member, path: str
) -> None:
    with pytest.raises(MapSeekError, match=r"/archive (.*)?(needs|has no subcommand|cannot be sent)|cannot be sent"):
        await sim.slash(channel, admin, path)


async def test_options_of_every_type_arrive_with_their_objects(
    sim: Simulator, client: RecordingBot, guild: Guild, channel: Channel, steve: Member, admin: Member
) -> None:
    role = admin.roles[0]
    given = {"text": "abc", "count": 3, "share": 0.5, "private": True, "who": admin, "where": channel, "role": role, "anyone": role}
    await sim.slash(channel, steve, "everything", options=given | {"since": "week"}, attachments={"file": ("q.png", png_file())})
    inter = await client.next("application_command")
    got = inter.filled_options
    assert {key: getattr(value, "id", value) for key, value in got.items() if key != "file"} == {
        key: getattr(value, "id", value) for key, value in given.items()
    } | {"since": "week"}
    assert got["file"].filename == "q.png"
    assert isinstance(got["who"], disnake.Member)
    assert [each.name for each in got["who"].roles] == ["@everyone", "Admins"]
    assert int(inter.data["resolved"]["channels"][str(channel.id)]["permissions"]) == inter.permissions.value
    assert int(inter.data["resolved"]["members"][str(admin.id)]["permissions"]) & Permission.MANAGE_GUILD


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "a"}, "does not allow 'a'"),
        ({"text": "abcdef"}, "does not allow"),
        ({"count": 10}, "does not allow 10"),
        ({"share": 2.0**54}, "does not allow"),
        ({"since": "day"}, "does not allow 'day'"),
        ({"who": "Steve"}, "cannot take 'Steve'"),
        ({"private": 1}, "cannot take 1"),
        ({"text": True}, "cannot take True"),
    ],
)
async def test_a_value_out_of_bounds_cannot_be_sent(
    sim: Simulator, client: RecordingBot, channel: Channel, steve: Member, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MapSeekError, match=message):
        await sim.slash(channel, steve, "everything", options=options)


async def test_only_visible_channels_of_the_right_type_are_offered(
    sim: Simulator, client: RecordingBot, guild: Guild, channel: Channel, steve: Member
) -> None:
    hidden = sim.add_text_channel(guild, "hidden", [Overwrite(steve, deny=Permission.VIEW_CHANNEL)])
    with pytest.raises(MapSeekError, match="does not see #hidden"):
        await sim.slash(channel, steve, "everything", options={"where": hidden})
    with pytest.raises(MapSeekError, match="does not offer #forum"):
        await sim.slash(channel, steve, "everything", options={"where": sim.add_forum(guild, "forum")})


async def test_commands_are_used_in_threads_but_not_in_a_forum_itself(
    sim: Simulator, client: RecordingBot, guild: Guild, channel: Channel, steve: Member
) -> None:
    thread = await sim.add_thread(channel, "aside", owner=steve, private=True)
    assert (await sim.answer(await sim.slash(thread, steve, "hello"))).message.channel is thread
    inter = await client.next("application_command")
    assert (inter.channel.id, inter.channel.parent_id) == (thread.id, channel.id)
    with pytest.raises(MapSeekError, match="may not use commands in #aside"):
        await sim.slash(thread, sim.add_member(guild, "Alex"), "hello")
    with pytest.raises(MapSeekError, match="no text channel"):
        await sim.slash(sim.add_forum(guild, "forum"), steve, "hello")
    await sim.delete_channel(channel)
    with pytest.raises(MapSeekError, match="no longer exists"):
        await sim.slash(channel, steve, "hello")


async def test_commands_are_offered_by_permission_age_and_context(
    sim: Simulator, client: RecordingBot, guild: Guild, channel: Channel, steve: Member
) -> None:
    with pytest.raises(MapSeekError, match="may not use /archive"):
        await sim.slash(channel, steve, "archive status")
    with pytest.raises(MapSeekError, match="age-restricted"):
        await sim.slash(channel, steve, "grown")
    await sim.slash(sim.add_text_channel(guild, "adults", nsfw=True), steve, "grown")
    with pytest.raises(MapSeekError, match="not offered in guilds"):
        await sim.slash(channel, steve, "alone")
    private = sim.add_text_channel(guild, "staff", [Overwrite(steve, allow=Permission.MANAGE_GUILD)])
    assert (await sim.answer(await sim.slash(private, steve, "archive status"))).content == "fine"


async def test_a_command_in_a_direct_message(sim: Simulator, client: RecordingBot, steve: Member) -> None:
    await (await client.fetch_user(steve.id)).send("hello")
    (message,) = sim.direct_messages(steve)
    await sim.slash(message.channel, steve, "alone")
    inter = await client.next("application_command")
    assert (inter.guild_id, inter.author.id, inter.channel.id) == (None, steve.id, message.channel.id)
    assert (await sim.answer(await sim.message_command(message.channel, steve, "Find this map", message))).content == "hello: []"


async def test_the_languages_of_client_and_guild_arrive(
    sim: Simulator, client: RecordingBot, guild: Guild, channel: Channel, steve: Member
) -> None:
    guild.locale = "fr"
    assert (await sim.answer(await sim.slash(channel, steve, "hello", locale="de"))).content == "de in fr"
    (command,) = [each for each in await client.fetch_global_commands(with_localizations=True) if each.name == "hello"]
    assert command.name_localizations.data == {"de": "hallo"}
    with pytest.raises(MapSeekError, match="have no language 'klingon'"):
        await sim.slash(channel, steve, "hello", locale="klingon")


async def test_a_message_command_brings_the_whole_message(
    sim: Simulator, client: RecordingBot, guild: Guild, channel: Channel, steve: Member
) -> None:
    message = await sim.post(channel, steve, "look", files=[("a.png", png_file()), ("b.png", png_file())], embeds=[{"title": "e"}])
    sim.expire_urls()
    interaction = await sim.message_command(channel, steve, "Find this map", message)
    assert (await sim.answer(interaction)).content == "look: ['a.png', 'b.png']"
    inter = await client.next("application_command")
    assert (inter.target.id, inter.target.embeds[0].title, inter.target.author.id) == (message.id, "e", steve.id)
    assert await inter.target.attachments[0].read() == png_file()
    elsewhere = sim.add_text_channel(guild, "elsewhere")
    with pytest.raises(MapSeekError, match="not in #elsewhere"):
        await sim.message_command(elsewhere, steve, "Find this map", message)
    with pytest.raises(MapSeekError, match="not registered the command Lose it"):
        await sim.message_command(channel, steve, "Lose it", message)
    await sim.wait_for_command("Find this map")
    await sim.delete(message)
    with pytest.raises(MapSeekError, match="was deleted"):
        await sim.message_command(channel, steve, "Find this map", message)
