"""Slash commands: registered, used, deferred, and answered from another process, with Discord's deadlines and refusals."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import disnake
import pytest

from contracts.errors import MapSeekError
from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Overwrite, Permission, Simulator
from tests.support.gateway import WAIT_S, RecordingBot, log_in, new_file, png_file, webhook


async def test_a_deferred_answer_is_edited_by_another_process(
    sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession, bot: RecordingBot
) -> None:
    embed = disnake.Embed(title="Found", description="here").set_thumbnail(file=new_file())
    edited = await webhook(sim, http, interaction.token).edit_message("@original", content="1 match", embed=embed, attachments=[])
    assert edited.attachments == []
    answer = await sim.answer(interaction, timeout=WAIT_S)
    assert (answer.content, answer.attachments, answer.edits, answer.ephemeral) == ("1 match", [("t.png", b"pixels")], 1, False)
    assert answer.deferred_after_s is not None
    assert 0 < answer.deferred_after_s < answer.answered_after_s
    assert answer.embeds[0]["title"] == "Found"
    assert await (await http.get(answer.embeds[0]["thumbnail"]["url"])).read() == b"pixels"


async def test_waiting_for_the_answer(sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession) -> None:
    waiting = asyncio.create_task(sim.answer(interaction, timeout=WAIT_S))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    await webhook(sim, http, interaction.token).edit_message("@original", content="done")
    assert (await waiting).content == "done"


async def test_the_command_carries_its_file_and_its_options(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member
) -> None:
    await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file(5, 4))}, options={"top": 1})
    inter = await bot.next("application_command")
    image = inter.filled_options["image"]
    assert (image.filename, image.width, image.ephemeral, await image.read()) == ("q.png", 5, True, png_file(5, 4))
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
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())}, options={"top": 1})
    await bot.next("slash_command_completion")
    await webhook(sim, http, interaction.token).edit_message("@original", content="psst")
    assert (await sim.answer(interaction)).ephemeral
    assert await bot.get_channel(channel.id).history().flatten() == []
    await sim.post(channel, steve, "for all")
    assert (await bot.next("message")).content == "for all"
    assert "raw_message_edit" not in bot.seen


async def test_a_visible_answer_is_a_message_of_the_bot(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, channel: Channel, http: aiohttp.ClientSession
) -> None:
    thinking = await bot.next("message")
    assert (thinking.author.id, thinking.flags.loading, thinking.type) == (
        bot.user.id,
        True,
        disnake.MessageType.application_command,
    )
    assert thinking.interaction_metadata.id == interaction.id
    await webhook(sim, http, interaction.token).edit_message("@original", content="done", file=new_file())
    assert (await bot.next("raw_message_edit")).data["content"] == "done"
    (message,) = await bot.get_channel(channel.id).history().flatten()
    assert (message.id, message.content, message.webhook_id) == (thinking.id, "done", sim.application_id)


async def test_files_stay_unless_the_edit_lists_what_to_keep(
    sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession
) -> None:
    hook = webhook(sim, http, interaction.token)

    async def list_names() -> list[str]:
        return [name for name, _ in (await sim.answer(interaction)).attachments]

    first = await hook.edit_message("@original", file=new_file("a.png"))
    await hook.edit_message("@original", file=new_file("b.png"))
    assert await list_names() == ["a.png", "b.png"]
    await hook.edit_message("@original", content="same files")
    assert await list_names() == ["a.png", "b.png"]
    await hook.edit_message("@original", attachments=[])
    assert await list_names() == []
    assert (await http.get(first.attachments[0].url)).status == 404
    assert (await sim.answer(interaction)).edits == 4


async def test_the_first_follow_up_fills_the_deferred_answer_and_others_follow(
    sim: Simulator, interaction: Interaction, bot: RecordingBot, channel: Channel, http: aiohttp.ClientSession
) -> None:
    hook = webhook(sim, http, interaction.token)
    original = await hook.send("first", wait=True)
    assert (await sim.answer(interaction)).content == "first"
    more = await hook.send("more", wait=True, file=new_file())
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
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    bot.remove_slash_command("find")
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
    answer = {"type": 4, "data": {"content": "at once", "flags": 64}}
    assert (
        await http.post(f"{sim.api_base}/interactions/{interaction.id}/{interaction.token}/callback", json=answer)
    ).status == 204
    got = await sim.answer(interaction, timeout=WAIT_S)
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
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, name: str, files: Any, options: Any, message: str
) -> None:
    with pytest.raises(MapSeekError, match=message):
        await sim.slash(channel, steve, name, attachments=files, options=options)


async def test_a_command_needs_a_visible_channel_with_the_bot(
    sim: Simulator, guild: Guild, channel: Channel, steve: Member
) -> None:
    question = {"image": ("q.png", png_file())}
    async with log_in(sim):
        hidden = sim.add_text_channel(guild, "hidden", [Overwrite(steve, deny=Permission.VIEW_CHANNEL)])
        with pytest.raises(MapSeekError, match="may not use commands"):
            await sim.slash(hidden, steve, "find", attachments=question)
    with pytest.raises(MapSeekError, match="No bot is connected"):
        await sim.slash(channel, steve, "find", attachments=question)


async def test_an_interaction_token_lives_for_fifteen_minutes(
    sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession
) -> None:
    hook, created = webhook(sim, http, interaction.token), interaction.created_at
    sim.now = lambda: created + timedelta(minutes=14, seconds=59)
    await hook.edit_message("@original", content="just in time")
    sim.now = lambda: created + timedelta(minutes=15, seconds=1)
    with pytest.raises(disnake.HTTPException) as refused:
        await hook.edit_message("@original", content="too late")
    assert (refused.value.status, refused.value.code) == (401, 50027)
    assert (await sim.answer(interaction)).content == "just in time"


async def test_an_unknown_token_or_application_is_refused(
    sim: Simulator, interaction: Interaction, http: aiohttp.ClientSession
) -> None:
    stranger = disnake.Webhook({"id": 1, "type": 3, "token": interaction.token}, session=http)
    for hook in (webhook(sim, http, "forged"), stranger):
        with pytest.raises(disnake.NotFound) as refused:
            await hook.edit_message("@original", content="hello")
        assert refused.value.code == 10015


async def test_the_first_response_comes_once_and_in_time(
    sim: Simulator, bot: RecordingBot, channel: Channel, steve: Member, http: aiohttp.ClientSession
) -> None:
    bot.remove_slash_command("find")
    interaction = await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
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


async def test_commands_keep_their_ids_and_are_not_registered_twice(sim: Simulator, channel: Channel) -> None:
    async with log_in(sim) as bot:
        (first,) = await bot.fetch_global_commands()
    async with log_in(sim) as bot:
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
    async with log_in(sim, test_guilds=[guild.id]) as bot:
        assert await bot.fetch_global_commands() == []
        assert [each.name for each in await bot.fetch_guild_commands(guild.id)] == ["find"]
        await sim.slash(channel, steve, "find", attachments={"image": ("q.png", png_file())})
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
