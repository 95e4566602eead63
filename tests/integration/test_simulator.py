"""The simulated Discord, driven by the real client and, where the client is too polite to break a rule, by plain HTTP."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import disnake
import pytest
from aiohttp import WSMsgType
from disnake.ext import commands
from PIL import Image

from contracts.errors import MapSeekError
from infra.simulator import (
    CDN,
    REST,
    Channel,
    Drip,
    Endless,
    Guild,
    Interaction,
    Member,
    Overwrite,
    Permission,
    Redirect,
    Simulator,
    Stall,
    Status,
    WrongLength,
)
from infra.simulator.permissions import permissions_in

INTENTS = disnake.Intents(guilds=True, guild_messages=True, message_content=True)
WAIT = 10


def png(width: int = 3, height: int = 2) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


class Bot(commands.InteractionBot):
    """The real client, with every event it dispatches kept and its waits shortened. `/find` only defers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"intents": INTENTS, "max_messages": None, **options})
        self._connection.guild_ready_timeout = 0.05
        self.events: dict[str, asyncio.Queue[Any]] = {}
        self.seen: list[str] = []
        self.add_slash_command(commands.InvokableSlashCommand(self._find, name="find", description="Find a picture"))

    async def _find(self, inter: disnake.ApplicationCommandInteraction, image: disnake.Attachment, top: int = 3) -> None:
        await inter.response.defer(ephemeral=top == 1)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        pass

    def dispatch(self, event: str, *args: Any, **kwargs: Any) -> None:
        super().dispatch(event, *args, **kwargs)
        self.seen.append(event)
        self.events.setdefault(event, asyncio.Queue()).put_nowait(args[0] if args else None)

    async def next(self, event: str) -> Any:
        return await asyncio.wait_for(self.events.setdefault(event, asyncio.Queue()).get(), WAIT)


@asynccontextmanager
async def logged_in(sim: Simulator, **options: Any) -> AsyncIterator[Bot]:
    bot = Bot(**options)
    run = asyncio.create_task(bot.start(sim.token))
    try:
        await bot.next("ready")
        await sim.wait_for_command("find", timeout=WAIT)
        yield bot
    finally:
        await bot.close()
        await run


@pytest.fixture
async def sim(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        monkeypatch.setattr(disnake.http.Route, "BASE", simulator.api_base)
        yield simulator


@pytest.fixture
def guild(sim: Simulator) -> Guild:
    return sim.add_guild("Mapmakers")


@pytest.fixture
def channel(sim: Simulator, guild: Guild) -> Channel:
    return sim.add_text_channel(guild, "gallery")


@pytest.fixture
def steve(sim: Simulator, guild: Guild) -> Member:
    return sim.add_member(guild, "Steve")


@pytest.fixture
async def bot(sim: Simulator, channel: Channel) -> AsyncIterator[Bot]:
    async with logged_in(sim) as client:
        yield client


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {sim.token}"}) as session:
        yield session


@pytest.fixture
async def asked(sim: Simulator, bot: Bot, channel: Channel, steve: Member) -> Interaction:
    """A `/find` that the bot has deferred, visibly."""
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png())})
    await bot.next("application_command")
    await bot.next("slash_command_completion")
    return interaction


def webhook(sim: Simulator, http: aiohttp.ClientSession, token: str) -> disnake.Webhook:
    return disnake.Webhook({"id": sim.application_id, "type": 3, "token": token}, session=http)


def shown(name: str = "t.png", data: bytes = b"pixels") -> disnake.File:
    return disnake.File(io.BytesIO(data), name)


# Login and events


async def test_the_client_logs_in_and_sees_what_is_there(sim: Simulator, guild: Guild, channel: Channel, bot: Bot) -> None:
    assert [(each.id, each.name) for each in bot.guilds] == [(guild.id, "Mapmakers")]
    assert [(each.id, each.name) for each in bot.guilds[0].text_channels] == [(channel.id, "gallery")]
    assert bot.user.id == sim.application_id == bot.application_id
    assert bot.guilds[0].me.id == bot.user.id
    assert (await bot.application_info()).id == sim.application_id
    assert (await bot.fetch_channel(channel.id)).name == "gallery"


async def test_a_posted_message_arrives_with_every_attachment(bot: Bot, sim: Simulator, channel: Channel, steve: Member) -> None:
    pictures = [(f"map {number}.png", png(number + 1, 2)) for number in range(11)]
    posted = await sim.post(channel, steve, "my maps", files=pictures)
    message = await bot.next("message")
    assert (message.id, message.content, message.author.id) == (posted.id, "my maps", steve.id)
    assert message.jump_url == posted.jump_url
    assert [each.id for each in message.attachments] == [each.id for each in posted.attachments]
    for (_, data), attachment in zip(pictures, message.attachments, strict=True):
        assert await attachment.read() == data
        assert (attachment.width, attachment.height) == Image.open(io.BytesIO(data)).size
        assert (attachment.size, attachment.content_type) == (len(data), "image/png")
    assert [each.filename for each in message.attachments][:2] == ["map_0.png", "map_1.png"]
    assert [each.title for each in message.attachments][:2] == ["map 0", "map 1"]


async def test_ids_carry_the_time_of_the_post(bot: Bot, sim: Simulator, channel: Channel, steve: Member) -> None:
    then = datetime(2019, 5, 4, 12, 30, 15, 250_000, tzinfo=UTC)
    await sim.post(channel, steve, "old", at=then)
    message = await bot.next("message")
    assert message.created_at == disnake.utils.snowflake_time(message.id) == then


async def test_what_is_no_picture_has_no_dimensions(bot: Bot, sim: Simulator, channel: Channel, steve: Member) -> None:
    await sim.post(channel, steve, files=[("lie.png", b"not a picture"), ("cut.png", png()[:20]), ("none", b"")])
    assert [(each.width, each.content_type) for each in (await bot.next("message")).attachments] == [
        (None, "image/png"),
        (None, "image/png"),
        (None, None),
    ]


async def test_an_edit_and_a_deletion_are_told(
    bot: Bot, sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    posted = await sim.post(channel, steve, "https://example.org/map", files=[("a.png", png())])
    await sim.edit(
        posted, embeds=[{"type": "image", "url": "https://example.org/map", "thumbnail": {"url": "https://example.org/m.png"}}]
    )
    unfolded = (await bot.next("raw_message_edit")).data
    assert unfolded["embeds"][0]["thumbnail"]["url"] == "https://example.org/m.png"
    assert (unfolded["edited_timestamp"], len(unfolded["attachments"])) == (None, 1)
    await sim.edit(posted, content="never mind")
    assert (await bot.next("raw_message_edit")).data["edited_timestamp"] is not None
    await sim.delete(posted)
    gone = await bot.next("raw_message_delete")
    assert (gone.message_id, gone.channel_id, gone.guild_id) == (posted.id, channel.id, channel.guild.id)
    assert (await http.get(unfolded["attachments"][0]["url"])).status == 404
    with pytest.raises(disnake.NotFound) as refused:
        await bot.get_channel(channel.id).fetch_message(posted.id)
    assert refused.value.code == 10008


async def test_the_same_message_can_be_delivered_again(bot: Bot, sim: Simulator, channel: Channel, steve: Member) -> None:
    posted = await sim.post(channel, steve, "once")
    await sim.redeliver(posted)
    await sim.redeliver(posted)
    assert [(await bot.next("message")).id for _ in range(3)] == [posted.id] * 3


async def test_what_is_added_later_is_announced(bot: Bot, sim: Simulator) -> None:
    other = sim.add_guild("Later")
    assert (await bot.next("guild_join")).id == other.id
    role = sim.add_role(other, "Makers")
    assert (await bot.next("guild_role_create")).id == role.id
    channel = sim.add_text_channel(other, "new")
    assert (await bot.next("guild_channel_create")).id == channel.id
    await sim.post(channel, sim.add_member(other, "Alex"), "hi")
    assert (await bot.next("message")).channel.id == channel.id


async def test_the_client_computes_the_same_permissions(sim: Simulator, guild: Guild) -> None:
    role, hidden = sim.add_role(guild, "Makers"), Overwrite(guild.everyone, deny=Permission.VIEW_CHANNEL)
    maker, guest = sim.add_member(guild, "Maker", roles=[role]), sim.add_member(guild, "Guest")
    chief = sim.add_member(guild, "Chief", roles=[sim.add_role(guild, "Chiefs", Permission.ADMINISTRATOR)])
    rules = {
        "open": [],
        "hidden": [hidden],
        "makers": [hidden, Overwrite(role, allow=Permission.VIEW_CHANNEL)],
        "guest": [Overwrite(role, deny=Permission.SEND_MESSAGES), hidden, Overwrite(guest, allow=Permission.VIEW_CHANNEL)],
        "bot": [hidden, Overwrite(sim.me(guild), allow=Permission.VIEW_CHANNEL)],
    }
    channels = [sim.add_text_channel(guild, name, overwrites) for name, overwrites in rules.items()]
    known = sum(Permission)
    async with logged_in(sim) as bot:
        seen = bot.guilds[0]
        for channel in channels:
            mine = permissions_in(channel, sim.me(guild))
            assert seen.get_channel(channel.id).permissions_for(seen.me).value & known == mine & known
        for member in (maker, guest, chief):
            await sim.slash(channels[0], member, "find", attachments={"image": ("q.png", png())})
            inter = await bot.next("application_command")
            for channel in channels:
                theirs = seen.get_channel(channel.id).permissions_for(inter.author)
                assert theirs.value & known == permissions_in(channel, member) & known, (channel.name, member.user.name)


async def test_a_channel_that_the_bot_cannot_see_is_silent(
    bot: Bot, sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    hidden = sim.add_text_channel(guild, "hidden", [Overwrite(sim.me(guild), deny=Permission.VIEW_CHANNEL)])
    secret = await sim.post(hidden, steve, "secret")
    await sim.edit(secret, content="more secret")
    await sim.delete(secret)
    await sim.post(channel, steve, "open")
    assert (await bot.next("message")).content == "open"
    assert not {"raw_message_edit", "raw_message_delete"} & set(bot.seen)
    with pytest.raises(disnake.Forbidden) as refused:
        await bot.get_channel(hidden.id).history().flatten()
    assert refused.value.code == 50001


# Slash commands and their answers


async def test_a_deferred_answer_is_edited_by_another_process(
    sim: Simulator, asked: Interaction, http: aiohttp.ClientSession, bot: Bot
) -> None:
    embed = disnake.Embed(title="Found", description="here").set_thumbnail(file=shown())
    await webhook(sim, http, asked.token).edit_message("@original", content="1 match", embed=embed, attachments=[])
    answer = await sim.answer(asked, timeout=WAIT)
    assert (answer.content, answer.attachments, answer.edits, answer.ephemeral) == ("1 match", [("t.png", b"pixels")], 1, False)
    assert answer.deferred_after_s is not None
    assert 0 < answer.deferred_after_s < answer.answered_after_s
    assert answer.embeds[0]["title"] == "Found"
    assert await (await http.get(answer.embeds[0]["thumbnail"]["url"])).read() == b"pixels"


async def test_the_answer_is_waited_for(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession) -> None:
    waiting = asyncio.create_task(sim.answer(asked, timeout=WAIT))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    await webhook(sim, http, asked.token).edit_message("@original", content="done")
    assert (await waiting).content == "done"


async def test_the_command_carries_its_file_and_its_options(sim: Simulator, bot: Bot, channel: Channel, steve: Member) -> None:
    await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png(5, 4))}, options={"top": 1})
    inter = await bot.next("application_command")
    image = inter.filled_options["image"]
    assert (image.filename, image.width, image.ephemeral, await image.read()) == ("q.png", 5, True, png(5, 4))
    assert (inter.filled_options["top"], inter.author.id, inter.channel.id, inter.guild.name) == (
        1,
        steve.id,
        channel.id,
        "Mapmakers",
    )
    assert inter.app_permissions.view_channel
    assert inter.permissions.read_message_history
    await bot.next("slash_command_completion")
    assert (await inter.original_response()).flags.ephemeral


async def test_an_ephemeral_answer_is_seen_by_the_asker_alone(
    sim: Simulator, bot: Bot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png())}, options={"top": 1})
    await bot.next("slash_command_completion")
    await webhook(sim, http, interaction.token).edit_message("@original", content="psst")
    assert (await sim.answer(interaction)).ephemeral
    assert await bot.get_channel(channel.id).history().flatten() == []
    await sim.post(channel, steve, "for all")
    assert (await bot.next("message")).content == "for all"
    assert "raw_message_edit" not in bot.seen


async def test_a_visible_answer_is_a_message_of_the_bot(
    sim: Simulator, asked: Interaction, bot: Bot, channel: Channel, http: aiohttp.ClientSession
) -> None:
    thinking = await bot.next("message")
    assert (thinking.author.id, thinking.flags.loading, thinking.type) == (
        bot.user.id,
        True,
        disnake.MessageType.application_command,
    )
    assert thinking.interaction_metadata.id == asked.id
    await webhook(sim, http, asked.token).edit_message("@original", content="done", file=shown())
    assert (await bot.next("raw_message_edit")).data["content"] == "done"
    (message,) = await bot.get_channel(channel.id).history().flatten()
    assert (message.id, message.content, message.webhook_id) == (thinking.id, "done", sim.application_id)


async def test_files_stay_unless_the_edit_lists_what_to_keep(
    sim: Simulator, asked: Interaction, http: aiohttp.ClientSession
) -> None:
    hook = webhook(sim, http, asked.token)

    async def names() -> list[str]:
        return [name for name, _ in (await sim.answer(asked)).attachments]

    first = await hook.edit_message("@original", file=shown("a.png"))
    await hook.edit_message("@original", file=shown("b.png"))
    assert await names() == ["a.png", "b.png"]
    await hook.edit_message("@original", content="same files")
    assert await names() == ["a.png", "b.png"]
    await hook.edit_message("@original", attachments=[])
    assert await names() == []
    assert (await http.get(first.attachments[0].url)).status == 404
    assert (await sim.answer(asked)).edits == 4


async def test_the_first_follow_up_fills_the_deferred_answer_and_others_follow(
    sim: Simulator, asked: Interaction, bot: Bot, channel: Channel, http: aiohttp.ClientSession
) -> None:
    hook = webhook(sim, http, asked.token)
    original = await hook.send("first", wait=True)
    assert (await sim.answer(asked)).content == "first"
    more = await hook.send("more", wait=True, file=shown())
    assert more.id != original.id
    assert (await hook.fetch_message(more.id)).attachments[0].filename == "t.png"
    await hook.edit_message(more.id, content="more!")
    assert [each.content for each in await bot.get_channel(channel.id).history().flatten()] == ["more!", "first"]
    await hook.delete_message(more.id)
    await hook.delete_message(original.id)
    assert await bot.get_channel(channel.id).history().flatten() == []
    with pytest.raises(disnake.NotFound) as refused:
        await hook.edit_message("@original", content="too late")
    assert refused.value.code == 10008


async def test_an_immediate_response_is_an_answer(
    sim: Simulator, bot: Bot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    bot.remove_slash_command("find")
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png())})
    answer = {"type": 4, "data": {"content": "at once", "flags": 64}}
    assert (
        await http.post(f"{sim.api_base}/interactions/{interaction.id}/{interaction.token}/callback", json=answer)
    ).status == 204
    got = await sim.answer(interaction, timeout=WAIT)
    assert (got.content, got.ephemeral, got.deferred_after_s, got.edits) == ("at once", True, None, 0)


@pytest.mark.parametrize(
    ("name", "files", "options", "message"),
    [
        ("lost", {"image": ("q.png", b"")}, {}, "not registered the command /lost"),
        ("find", {}, {}, "needs its option 'image'"),
        ("find", {"picture": ("q.png", b"")}, {}, "no option called 'picture'"),
        ("find", {"image": ("q.png", b"")}, {"top": "three"}, "cannot take 'three'"),
        ("find", {"image": ("q.png", b"")}, {"top": True}, "cannot take True"),
        ("find", {}, {"image": "q.png"}, "cannot take 'q.png'"),
    ],
)
async def test_a_command_that_a_member_could_not_send_is_refused(
    sim: Simulator, bot: Bot, channel: Channel, steve: Member, name: str, files: Any, options: Any, message: str
) -> None:
    with pytest.raises(MapSeekError, match=message):
        await sim.slash(channel, steve, name, attachments=files, options=options)


async def test_nobody_asks_where_they_see_nothing_or_where_no_bot_is(
    sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    question = {"image": ("q.png", png())}
    async with logged_in(sim):
        hidden = sim.add_text_channel(guild, "hidden", [Overwrite(steve, deny=Permission.VIEW_CHANNEL)])
        with pytest.raises(MapSeekError, match="may not use commands"):
            await sim.slash(hidden, steve, "find", attachments=question)
    with pytest.raises(MapSeekError, match="No bot is connected"):
        await sim.slash(channel, steve, "find", attachments=question)


async def test_an_interaction_token_lives_for_fifteen_minutes(
    sim: Simulator, asked: Interaction, http: aiohttp.ClientSession
) -> None:
    hook, created = webhook(sim, http, asked.token), asked.created_at
    sim.now = lambda: created + timedelta(minutes=14, seconds=59)
    await hook.edit_message("@original", content="just in time")
    sim.now = lambda: created + timedelta(minutes=15, seconds=1)
    with pytest.raises(disnake.HTTPException) as refused:
        await hook.edit_message("@original", content="too late")
    assert (refused.value.status, refused.value.code) == (401, 50027)
    assert (await sim.answer(asked)).content == "just in time"


async def test_an_unknown_token_or_application_is_refused(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession) -> None:
    stranger = disnake.Webhook({"id": 1, "type": 3, "token": asked.token}, session=http)
    for hook in (webhook(sim, http, "forged"), stranger):
        with pytest.raises(disnake.NotFound) as refused:
            await hook.edit_message("@original", content="hello")
        assert refused.value.code == 10015


async def test_the_first_response_comes_once_and_in_time(
    sim: Simulator, bot: Bot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    bot.remove_slash_command("find")
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png())})
    url = f"{sim.api_base}/interactions/{interaction.id}/{interaction.token}/callback"

    async def respond(body: Any, to: str = url) -> tuple[int, int | None]:
        response = await http.post(to, json=body)
        return response.status, None if response.status == 204 else (await response.json())["code"]

    with pytest.raises(disnake.NotFound) as early:
        await webhook(sim, http, interaction.token).edit_message("@original", content="nothing to edit")
    assert early.value.code == 10015
    created = interaction.created_at
    sim.now = lambda: created + timedelta(seconds=3.1)
    assert await respond({"type": 5}) == (404, 10062)
    sim.now = lambda: created + timedelta(seconds=2.9)
    for malformed in ({"type": 7}, {"type": 5, "data": [1]}, {"type": 5, "data": {"flags": "all"}}):
        assert await respond(malformed) == (400, 50035)
    assert await respond({"type": 5}, to=url.replace(str(interaction.id), "1")) == (404, 10062)
    assert await respond({"type": 5}) == (204, None)
    assert await respond({"type": 5}) == (400, 40060)


LONG = "x" * 5000


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"content": LONG[:2001]}, "content"),
        ({"embeds": [{"title": "x"}] * 11}, "embeds"),
        ({"embeds": [{"title": LONG[:257]}]}, "embeds.0.title"),
        ({"embeds": [{"description": LONG[:4097]}]}, "embeds.0.description"),
        ({"embeds": [{"footer": {"text": LONG[:2049]}}]}, "embeds.0.footer.text"),
        ({"embeds": [{"author": {"name": LONG[:257]}}]}, "embeds.0.author.name"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds.0.fields"),
        ({"embeds": [{"fields": [{"name": LONG[:257], "value": "v"}]}]}, "embeds.0.fields.0.name"),
        ({"embeds": [{"fields": [{"name": "n", "value": LONG[:1025]}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"fields": [{"name": "n", "value": ""}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"description": LONG[:3001]}, {"description": LONG[:3000]}]}, "embeds"),
        ({"embeds": [{"url": "ftp://example.org"}]}, "embeds.0.url"),
        ({"embeds": [{"image": {"url": "not a link"}}]}, "embeds.0.image.url"),
        ({"embeds": [{"image": {"url": "attachment://absent.png"}}]}, "embeds"),
        ({"embeds": "none"}, "embeds"),
        ({"content": 7}, "content"),
        ({"attachments": [{"id": 5}], "content": "x"}, "attachments"),
        ({"attachments": [{"id": "x"}], "content": "x"}, "attachments.0.id"),
        ({"embeds": [7]}, "embeds.0"),
        ({"embeds": [{"footer": "foot"}]}, "embeds.0.footer"),
        ({"embeds": [{"fields": ["f"]}]}, "embeds.0.fields.0"),
        ({"components": [{}] * 6}, "components"),
    ],
)
async def test_a_message_over_the_limits_is_refused(
    sim: Simulator, asked: Interaction, http: aiohttp.ClientSession, body: Any, where: str
) -> None:
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{asked.token}/messages/@original"
    response = await http.patch(url, json=body)
    error = await response.json()
    assert (response.status, error["code"]) == (400, 50035)
    errors = error["errors"]
    for key in where.split("."):
        errors = errors[key]
    assert errors["_errors"][0]["code"]
    assert asked.edits == 0


async def test_a_message_at_the_limits_is_taken(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession) -> None:
    embeds = [disnake.Embed(title=LONG[:256], description=LONG[:4096]), disnake.Embed(description=LONG[:1648])]
    await webhook(sim, http, asked.token).edit_message(
        "@original", content=LONG[:2000], embeds=embeds + [disnake.Embed(color=1)] * 8
    )
    assert len((await sim.answer(asked)).embeds) == 10


async def test_bodies_that_discord_does_not_take(sim: Simulator, asked: Interaction, http: aiohttp.ClientSession) -> None:
    url = f"{sim.api_base}/webhooks/{sim.application_id}/{asked.token}/messages/@original"
    bodies: list[tuple[dict[str, Any], int, int]] = [
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, 50109),
        ({"data": b"{}"}, 400, 50035),
        ({"json": {}}, 400, 50006),
        ({"json": []}, 400, 50035),
    ]
    for options, status, code in bodies:
        response = await http.patch(url, **options)
        assert (response.status, (await response.json())["code"]) == (status, code)
    hook = webhook(sim, http, asked.token)
    with pytest.raises(disnake.HTTPException) as many:
        await hook.edit_message("@original", files=[shown(f"{number}.png") for number in range(11)])
    assert many.value.code == 50035
    with pytest.raises(disnake.HTTPException) as large:
        await hook.edit_message("@original", file=shown(data=bytes(10 * 1024 * 1024 + 1)))
    assert (large.value.status, large.value.code) == (413, 40005)


# History


async def test_history_is_newest_first_whichever_way_it_is_paged(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    ids = [str((await sim.post(channel, steve, str(day), at=start + timedelta(days=day))).id) for day in (4, 0, 1, 2, 3)]
    ids.sort(key=int)

    async def page(**query: Any) -> list[str]:
        response = await http.get(f"{sim.api_base}/channels/{channel.id}/messages", params=query)
        assert response.headers["Content-Type"] == "application/json"
        return [each["id"] for each in await response.json()]

    assert await page() == ids[::-1]
    assert await page(limit=2) == [ids[4], ids[3]]
    assert await page(limit=2, before=ids[3]) == [ids[2], ids[1]]
    assert await page(limit=2, after=ids[0]) == [ids[2], ids[1]]
    assert await page(limit=3, around=ids[2]) == [ids[3], ids[2], ids[1]]


async def test_the_client_pages_through_a_long_history(sim: Simulator, bot: Bot, channel: Channel, steve: Member) -> None:
    ids = [(await sim.post(channel, steve, "x")).id for _ in range(250)]
    history = bot.get_channel(channel.id).history(limit=None, after=disnake.Object(ids[9]))
    assert [message.id async for message in history] == ids[10:]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many"])
async def test_a_limit_out_of_range_is_refused(sim: Simulator, channel: Channel, http: aiohttp.ClientSession, limit: str) -> None:
    response = await http.get(f"{sim.api_base}/channels/{channel.id}/messages", params={"limit": limit})
    assert (response.status, (await response.json())["code"]) == (400, 50035)


async def test_without_the_permission_history_is_an_empty_list(sim: Simulator, guild: Guild, steve: Member) -> None:
    blind = sim.add_text_channel(guild, "blind", [Overwrite(guild.everyone, deny=Permission.READ_MESSAGE_HISTORY)])
    posted = await sim.post(blind, steve, "hello")
    async with logged_in(sim) as bot:
        seen = bot.get_channel(blind.id)
        assert await seen.history().flatten() == []
        with pytest.raises(disnake.Forbidden):
            await seen.fetch_message(posted.id)


# Tokens, intents, the gateway's own protocol


async def test_a_wrong_token_is_refused(sim: Simulator, channel: Channel) -> None:
    bot = Bot()
    with pytest.raises(disnake.LoginFailure):
        await bot.start("wrong")
    await bot.close()
    async with aiohttp.ClientSession() as session:
        for path in (
            "/users/@me",
            f"/channels/{channel.id}/messages",
            f"/applications/{sim.application_id}/commands",
            "/gateway/bot",
        ):
            response = await session.get(sim.api_base + path)
            assert (response.status, (await response.json())["code"]) == (401, 0), path


async def test_an_intent_that_is_not_granted_closes_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Simulator(message_content_intent=False) as sim:
        monkeypatch.setattr(disnake.http.Route, "BASE", sim.api_base)
        bot = Bot()
        with pytest.raises(disnake.PrivilegedIntentsRequired):
            await bot.start(sim.token)
        await bot.close()


async def test_without_the_content_intent_messages_are_empty(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with logged_in(sim, intents=disnake.Intents(guilds=True, guild_messages=True)) as bot:
        posted = await sim.post(channel, steve, "text", files=[("a.png", png())], embeds=[{"title": "x"}])
        history = await bot.get_channel(channel.id).history().flatten()
        for message in (await bot.next("message"), *history):
            assert (message.id, message.content, message.attachments, message.embeds) == (posted.id, "", [], [])


async def test_a_session_without_the_messages_intent_hears_none(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with logged_in(sim, intents=disnake.Intents(guilds=True)) as bot:
        await sim.post(channel, steve, "unheard")
        await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png())})
        await bot.next("application_command")
        assert "message" not in bot.seen


async def test_a_lost_connection_is_resumed_with_what_was_missed(bot: Bot, sim: Simulator, channel: Channel, steve: Member) -> None:
    await sim.post(channel, steve, "before")
    await bot.next("message")
    await sim.disconnect(resumable=True)
    await sim.post(channel, steve, "meanwhile")
    await bot.next("resumed")
    assert (await bot.next("message")).content == "meanwhile"
    await sim.post(channel, steve, "after")
    assert (await bot.next("message")).content == "after"
    assert bot.seen.count("ready") == 1


async def test_an_invalid_session_starts_anew_and_misses_what_happened(
    bot: Bot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    await sim.disconnect(resumable=False)
    missed = await sim.post(channel, steve, "meanwhile")
    await bot.next("ready")
    await sim.post(channel, steve, "after")
    assert (await bot.next("message")).content == "after"
    assert "resumed" not in bot.seen
    assert missed.id in [message.id async for message in bot.get_channel(channel.id).history()]


async def test_the_gateway_speaks_uncompressed_too(sim: Simulator, channel: Channel, steve: Member) -> None:
    async with logged_in(sim, gateway_params=disnake.GatewayParams(zlib=False)) as bot:
        await sim.post(channel, steve, "plain")
        assert (await bot.next("message")).content == "plain"


async def test_commands_keep_their_ids_and_are_not_registered_twice(sim: Simulator, channel: Channel) -> None:
    async with logged_in(sim) as bot:
        (first,) = await bot.fetch_global_commands()
    async with logged_in(sim) as bot:
        (second,) = await bot.fetch_global_commands()
    registrations = "PUT /applications/{application}/commands"
    assert (first.id, sim.requests[registrations]) == (second.id, 1)


async def test_a_changed_command_keeps_its_id(sim: Simulator, http: aiohttp.ClientSession) -> None:
    url = f"{sim.api_base}/applications/{sim.application_id}/commands"
    (before,) = await (await http.put(url, json=[{"name": "find", "description": "old"}])).json()
    new, after = await (
        await http.put(url, json=[{"name": "add", "description": "x"}, {"name": "find", "description": "new"}])
    ).json()
    assert (before["id"], after["description"]) == (after["id"], "new")
    assert before["version"] != after["version"]
    assert new["id"] != before["id"]


async def test_a_guild_has_commands_of_its_own(sim: Simulator, guild: Guild, channel: Channel, steve: Member) -> None:
    async with logged_in(sim, test_guilds=[guild.id]) as bot:
        assert await bot.fetch_global_commands() == []
        assert [each.name for each in await bot.fetch_guild_commands(guild.id)] == ["find"]
        await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png())})
        assert (await bot.next("application_command")).data.name == "find"
        elsewhere = sim.add_guild("Elsewhere")
        with pytest.raises(MapSeekError, match="not registered"):
            await sim.slash(sim.add_text_channel(elsewhere, "x"), sim.add_member(elsewhere, "Alex"), "find")


@pytest.mark.parametrize(
    "command",
    [
        {"name": "Find", "description": "x"},
        {"name": "find it", "description": "x"},
        {"name": "find", "description": ""},
        {"name": "find", "description": "x" * 101},
        {"name": "find", "description": "x", "options": [{"type": 99, "name": "a", "description": "x"}]},
        {
            "name": "find",
            "description": "x",
            "options": [
                {"type": 3, "name": "a", "description": "x"},
                {"type": 3, "name": "b", "description": "x", "required": True},
            ],
        },
    ],
)
async def test_a_command_against_the_rules_is_not_registered(sim: Simulator, http: aiohttp.ClientSession, command: Any) -> None:
    url = f"{sim.api_base}/applications/{sim.application_id}/commands"
    for body in ([command], [{"name": "a", "description": "x"}] * 2, {"name": "a"}):
        response = await http.put(url, json=body)
        assert (response.status, (await response.json())["code"]) == (400, 50035)
    assert await (await http.get(url)).json() == []


IDENTIFY = {"token": "", "intents": 1, "properties": {}}


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (["{"], 4002),
        (['{"op": 1}'], 4002),
        ([{"op": 3, "d": {}}], 4003),
        ([{"op": 2, "d": {**IDENTIFY, "token": "wrong"}}], 4004),
        ([{"op": 6, "d": {"token": "wrong", "session_id": "x", "seq": 1}}], 4004),
        ([{"op": 2, "d": IDENTIFY}, {"op": 2, "d": IDENTIFY}], 4005),
        ([{"op": 2, "d": {**IDENTIFY, "intents": "all"}}], 4013),
        ([{"op": 2, "d": {**IDENTIFY, "intents": 1 << 1}}], 4014),
        ([{"op": 2, "d": IDENTIFY}, {"op": 99, "d": None}], 4001),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_closed(sim: Simulator, frames: list[Any], code: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{await gateway(sim, session)}?v=10&encoding=json") as socket,
    ):
        for frame in frames:
            if isinstance(frame, dict) and frame["op"] == 2 and not frame["d"]["token"]:
                frame = {**frame, "d": {**frame["d"], "token": sim.token}}
            await socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        await closed(socket)
        assert socket.close_code == code


async def test_an_unknown_session_is_invalid_and_a_heartbeat_is_acknowledged(sim: Simulator) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{await gateway(sim, session)}?v=10&encoding=json") as socket,
    ):
        assert (await socket.receive_json(timeout=WAIT))["op"] == 10
        await socket.send_json({"op": 1, "d": None})
        assert (await socket.receive_json(timeout=WAIT))["op"] == 11
        await socket.send_json({"op": 6, "d": {"token": sim.token, "session_id": "forgotten", "seq": 1}})
        invalid = await socket.receive_json(timeout=WAIT)
        assert (invalid["op"], invalid["d"]) == (9, False)


async def test_a_session_is_resumed_only_from_where_it_has_been(sim: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{await gateway(sim, session)}?v=10&encoding=json"
        async with session.ws_connect(url) as socket:
            await socket.send_json({"op": 2, "d": {**IDENTIFY, "token": sim.token}})
            await socket.receive_json(timeout=WAIT)
            ready = await socket.receive_json(timeout=WAIT)
            await socket.close(code=4000)
        resume = {"token": sim.token, "session_id": ready["d"]["session_id"]}
        for sequence, op, event in ((ready["s"] + 1, 9, None), (None, 9, None), (ready["s"], 0, "RESUMED")):
            async with session.ws_connect(url) as socket:
                await socket.send_json({"op": 6, "d": {**resume, "seq": sequence}})
                await socket.receive_json(timeout=WAIT)
                answer = await socket.receive_json(timeout=WAIT)
                assert (answer["op"], answer["t"]) == (op, event)
                await socket.close(code=4000)


async def test_a_client_without_a_heartbeat_or_of_another_version_is_closed() -> None:
    async with Simulator(heartbeat_interval=0.05) as sim, aiohttp.ClientSession() as session:
        for query, code in (("v=10&encoding=json", 4009), ("v=9&encoding=json", 4012), ("v=10&encoding=etf", 4012)):
            async with session.ws_connect(f"{await gateway(sim, session)}?{query}") as socket:
                await closed(socket)
                assert socket.close_code == code


async def gateway(sim: Simulator, session: aiohttp.ClientSession) -> str:
    return str((await (await session.get(f"{sim.api_base}/gateway")).json())["url"])


async def closed(socket: aiohttp.ClientWebSocketResponse) -> None:
    while (await socket.receive(timeout=WAIT)).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED):
        pass


# The CDN and its faults


async def test_an_expired_url_is_refreshed_by_fetching_the_message(
    sim: Simulator, bot: Bot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    posted = await sim.post(channel, steve, files=[("a.png", png())])
    old = (await bot.next("message")).attachments[0].url
    assert (await http.get(old)).status == 200
    for status in (404, 403):
        sim.expire_urls(status=status)
        assert (await http.get(old)).status == status
        fresh = (await bot.get_channel(channel.id).fetch_message(posted.id)).attachments[0]
        assert await fresh.read() == png()
    history = await bot.get_channel(channel.id).history().flatten()
    assert await history[0].attachments[0].read() == png()


async def test_a_url_expires_after_a_day_and_cannot_be_forged(
    sim: Simulator, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    (file,) = (await sim.post(channel, steve, files=[("a.png", png())])).attachments
    (other,) = (await sim.post(channel, steve, files=[("b.png", png())])).attachments
    bare, query = file.url.split("?")
    for forged in (
        bare,
        file.url.replace("ex=", "ex=f"),
        other.url.split("?")[0] + "?" + query,
        bare + "?ex=&is=&hm=",
        bare + "0?" + query,
    ):
        assert (await http.get(forged)).status == 404
    assert (await http.get(file.url)).status == 200
    now = sim.now()
    sim.now = lambda: now + timedelta(hours=25)
    assert (await http.get(file.url)).status == 404


@pytest.fixture
async def picture(sim: Simulator, channel: Channel, steve: Member) -> str:
    """The URL of a posted picture."""
    (file,) = (await sim.post(channel, steve, files=[("a.png", png(64, 64))])).attachments
    return file.url


@pytest.mark.parametrize("status", [403, 404, 429, 500])
async def test_the_next_requests_meet_a_status(sim: Simulator, http: aiohttp.ClientSession, picture: str, status: int) -> None:
    sim.faults.add(Status(status, retry_after=1.5), CDN, times=2)
    answers = [await http.get(picture) for _ in range(3)]
    assert [each.status for each in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "1.5"
    assert sim.requests["GET /attachments/{channel}/{attachment}/{filename}"] == 3
    assert sim.requests[f"GET {answers[0].url.path}"] == 3


async def test_a_fault_keeps_to_its_path_and_can_be_lifted(
    sim: Simulator, http: aiohttp.ClientSession, picture: str, channel: Channel, steve: Member
) -> None:
    (other,) = (await sim.post(channel, steve, files=[("b.png", png())])).attachments
    sim.faults.add(Status(500), "*/a.png", method="GET", times=None)
    assert [(await http.get(url)).status for url in (picture, other.url, picture)] == [500, 200, 500]
    assert (await http.head(picture)).status == 200
    sim.faults.clear()
    assert (await http.get(picture)).status == 200


async def test_the_client_waits_out_a_rate_limit(sim: Simulator, bot: Bot, channel: Channel) -> None:
    sim.faults.add(Status(429, retry_after=0.01), f"{REST}/messages")
    assert await bot.get_channel(channel.id).history().flatten() == []
    assert sim.requests["GET /channels/{channel}/messages"] == 2


async def test_a_redirect_goes_where_it_is_told(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Redirect("http://10.0.0.1/secret"), CDN)
    response = await http.get(picture, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "http://10.0.0.1/secret")


async def test_a_slow_body_is_whole_in_the_end(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Drip(chunk=16, interval=0), CDN)
    response = await http.get(picture)
    assert await response.content.readany() != png(64, 64)
    assert len(await response.read()) < len(png(64, 64))


async def test_a_stalled_body_never_ends(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Stall(), CDN)
    response = await http.get(picture)
    half = await response.content.readexactly(len(png(64, 64)) // 2)
    assert png(64, 64).startswith(half)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(response.content.readany(), 0.05)
    response.close()


async def test_an_endless_body_outgrows_any_limit(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    sim.faults.add(Endless(), CDN)
    response = await http.get(picture)
    assert "Content-Length" not in response.headers
    assert (await response.content.readexactly(1_000_000)).startswith(png(64, 64))
    response.close()


async def test_a_lie_about_the_length(sim: Simulator, http: aiohttp.ClientSession, picture: str) -> None:
    size = len(png(64, 64))
    sim.faults.add(WrongLength(size + 10), CDN)
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await http.get(picture)).read()
    sim.faults.add(WrongLength(size - 10), CDN)
    response = await http.get(picture)
    assert await response.read() == png(64, 64)[:-10]


# The server itself


async def test_what_is_not_simulated_says_so(sim: Simulator, http: aiohttp.ClientSession) -> None:
    missing = await http.get(f"{sim.api_base}/stickers/1")
    assert (missing.status, missing.headers["Content-Type"]) == (404, "application/json")
    assert (await missing.json())["message"] == "404: Not Found"
    assert (await http.delete(f"{sim.api_base}/users/@me")).status == 405


async def test_a_taken_port_is_said_in_one_sentence(sim: Simulator) -> None:
    with pytest.raises(MapSeekError, match="cannot listen on port"):
        await Simulator(port=int(sim.cdn_origin.rsplit(":", 1)[1])).start()


async def test_it_comes_back_on_the_same_port_and_the_client_with_it(
    bot: Bot, sim: Simulator, channel: Channel, steve: Member
) -> None:
    before = sim.api_base
    await sim.stop()
    await sim.start()
    assert sim.api_base == before
    await bot.next("ready")
    await sim.post(channel, steve, "back")
    assert (await bot.next("message")).content == "back"
