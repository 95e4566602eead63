"""`/find` returns the right answer in time, only from channels that the asker may read, and can be traced from command to reply."""

import io
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from contracts.events import ImagePosted, SearchAnswered, SearchMatched
from contracts.subjects import IMAGES
from infra.nats.connection import connect
from infra.nats.server import read_announced_address
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator import Overwrite, Permission, Status, WrongLength
from infra.vision.distortions import change_brightness, encode_png, reencode, resize
from pipeline.engine.registry import STAGES
from tests.support.bench_stage import count_unsettled
from tests.support.programs import run_program
from tests.support.waiting import eventually
from tests.support.world import (
    Discord,
    Log,
    World,
    art_png,
    list_labels,
    mapseek_beside,
    read_headline,
    read_lines,
    read_link,
    read_words,
    shared_world,
)

EDIT_REQUEST = "PATCH /webhooks/{application}/{token}/messages/{message}"
LOST_CONFIRMATION = WrongLength(1_000_000)
"""Discord carries out the request, but the connection ends before its response is complete."""

NEVER_POSTED = 9_000

ALTERED_COPIES = {
    "re-encoded": encode_png(reencode(draw_piece(3), 50)),
    "resized": encode_png(resize(draw_piece(3), 0.5)),
    "darker": encode_png(change_brightness(draw_piece(3), 0.8)),
}


FOUND = "Found it: first posted by Steve"
NO_MATCH = "No match"
EDIT_COUNT = 3
"""Edits of a deferred answer: fetching, comparing, the answer."""


@pytest.fixture
def stages_without_reply() -> list[object]:
    return [stage for stage in STAGES if stage.name != "reply"]


@shared_world
async def test_altered_copies_are_found_with_link_author_date_and_picture(server: World) -> None:
    discord = server.discord
    posted_at = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
    await discord.post(*((f"other-{seed}.png", art_png(seed)) for seed in range(3)), author=discord.alex)
    message = await discord.simulator.post(discord.gallery, discord.steve, files=[("dragon.png", art_png(3))], at=posted_at)
    await server.archived(4)
    for kind, picture in ALTERED_COPIES.items():
        answer = await discord.simulator.answer(await discord.ask(picture), embedded=True)
        assert read_headline(answer) == FOUND, kind
        assert read_link(answer) == message.jump_url, kind
        sure, why, post, file = read_lines(answer)
        assert re.fullmatch(r"\*\*\d+%\*\* match", sure)
        assert re.match(r"Same picture|Copy of the same picture|Exact copy", why), why
        moment = int(posted_at.timestamp())
        assert post == f"Posted by **Steve** on <t:{moment}:D> (<t:{moment}:R>) in <#{discord.gallery.id}>"
        assert file == "File: dragon.png"
        [embed] = answer.embeds
        assert "footer" not in embed
        assert embed["image"]["url"].split("?")[0].rpartition("/")[2] == "map.webp"
        [(_, shown)] = answer.attachments
        thumbnail = Image.open(io.BytesIO(shown))
        assert max(thumbnail.size) <= 256
        assert abs(thumbnail.width / thumbnail.height - draw_piece(3).width / draw_piece(3).height) < 0.02
        assert answer.ephemeral
        assert answer.edits <= EDIT_COUNT
        assert answer.deferred_after_s is not None
        assert answer.deferred_after_s < 3


@shared_world
async def test_an_author_with_controls_in_their_name_changes_nothing_around_it(server: World) -> None:
    discord = server.discord
    hostile = discord.simulator.add_member(discord.guild, "Ste\u202eve\n\x1b[31m**x**")
    message = await discord.post(("map.png", art_png(40)), author=hostile)
    await server.archived(1)
    answer = await discord.simulator.answer(await discord.ask(art_png(40)), embedded=True)
    assert read_link(answer) == message.jump_url
    shown = r"Ste\\u202eve \\x1b[31m\*\*x\*\*"
    assert read_headline(answer) == f"Found it: first posted by {shown}"
    assert [line for line in read_lines(answer) if line.startswith(f"Posted by **{shown}** on <t:")] != []


@shared_world
async def test_a_picture_that_was_never_posted_is_no_match(server: World) -> None:
    await server.discord.post(*((f"{seed}.png", art_png(seed)) for seed in range(5)))
    await server.archived(5)
    answer = await server.discord.simulator.answer(await server.discord.ask(art_png(NEVER_POSTED)), embedded=True)
    assert read_headline(answer) == NO_MATCH
    assert (read_link(answer), answer.attachments) == (None, [])
    assert "footer" not in answer.embeds[0]
    assert list_labels(answer) == ["Notify me if it's posted"]


async def test_a_search_in_an_empty_archive_is_no_match(world: World) -> None:
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(1)), embedded=True)
    assert read_headline(answer) == NO_MATCH


@shared_world
async def test_a_channel_that_the_asker_may_not_read_never_appears(server: World) -> None:
    """The asker sees one channel without its history, and does not see the other at all. For both, the answer shows nothing."""
    discord, simulator = server.discord, server.discord.simulator
    bot = Overwrite(simulator.me(discord.guild), allow=Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY)
    everyone = discord.guild.everyone
    hidden = simulator.add_text_channel(discord.guild, "hidden", [Overwrite(everyone, deny=Permission.VIEW_CHANNEL), bot])
    unread = simulator.add_text_channel(discord.guild, "unread", [Overwrite(everyone, deny=Permission.READ_MESSAGE_HISTORY), bot])
    staff = simulator.add_role(discord.guild, "staff", Permission.ADMINISTRATOR)
    moderator = simulator.add_member(discord.guild, "Mo", [staff])
    secret = await discord.post(("secret.png", art_png(1)), channel=hidden)
    live = await discord.post(("live.png", art_png(2)), channel=unread)
    public = await discord.post(("public.png", art_png(1)))
    await server.archived(3)
    for seed, readable, first in ((1, public, secret), (2, None, live)):
        ordinary = await simulator.answer(await discord.ask(art_png(seed)), embedded=True)
        assert read_link(ordinary) == (readable.jump_url if readable else None)
        assert not any(each.jump_url in read_words(ordinary) for each in (secret, live))
        assert "Posted 2 times" not in list_labels(ordinary)
        privileged = await simulator.answer(await discord.ask(art_png(seed), member=moderator), embedded=True)
        assert read_link(privileged) == first.jump_url


async def test_another_guilds_image_never_appears(world: World) -> None:
    simulator = world.discord.simulator
    harbour = simulator.add_guild("Pixel Harbour")
    showcase = simulator.add_text_channel(harbour, "showcase")
    noor = simulator.add_member(harbour, "Noor")
    there = await world.discord.post(("ours.png", art_png(1)))
    here = await simulator.post(showcase, noor, files=[("theirs.png", art_png(2))])
    await world.archived(2)
    foreign = await simulator.answer(await world.discord.ask(art_png(1), channel=showcase, member=noor), embedded=True)
    assert read_headline(foreign) == NO_MATCH
    own = await simulator.answer(await world.discord.ask(art_png(2), channel=showcase, member=noor), embedded=True)
    assert read_link(own) == here.jump_url
    back = await simulator.answer(await world.discord.ask(art_png(1)), embedded=True)
    assert read_link(back) == there.jump_url


@shared_world
@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (art_png(1)[: len(art_png(1)) // 2], "That picture is damaged. I can't read it."),
        (b"no picture at all", "That file isn't a PNG, JPEG, WebP, GIF or BMP picture."),
        (b"", "That file is empty."),
    ],
    ids=["truncated", "text", "empty"],
)
async def test_a_broken_query_picture_is_answered_with_a_sentence(server: World, picture: bytes, sentence: str) -> None:
    answer = await server.discord.simulator.answer(await server.discord.ask(picture), embedded=True)
    assert read_headline(answer) == "Search failed"
    assert answer.embeds[0]["description"] == sentence
    assert await server.log.dead_letters() == []


async def test_an_answer_is_sent_again_while_discord_fails(world: World) -> None:
    """Progress that could not be shown is skipped; the answer is not."""
    world.discord.simulator.faults.add(Status(503), "*/webhooks/*", times=EDIT_COUNT)
    answer = await world.discord.simulator.answer(await world.discord.ask(art_png(1)), embedded=True)
    assert read_headline(answer) == NO_MATCH
    await world.log.wait_for(SearchAnswered, 1)
    assert [fact.outcome for fact in await world.log.facts(SearchAnswered)] == ["sent"]
    assert world.discord.simulator.requests[EDIT_REQUEST] > EDIT_COUNT
    assert await world.log.dead_letters() == []


async def test_an_answer_whose_confirmation_was_lost_is_sent_again_unchanged(world: World) -> None:
    await world.discord.post(("dragon.png", art_png(1)))
    await world.archived(1)
    world.discord.simulator.faults.add(LOST_CONFIRMATION, "*/webhooks/*", times=EDIT_COUNT)
    interaction = await world.discord.ask(art_png(1))
    first = await world.discord.simulator.answer(interaction, embedded=True)
    await world.log.wait_until_idle("search")
    again = await world.discord.simulator.answer(interaction, embedded=True)
    assert again.edits > first.edits
    assert (again.content, read_words(again), list(again.buttons)) == ("", read_words(first), list(first.buttons))
    assert again.attachments == first.attachments
    assert len(again.attachments) == 1
    assert [fact.outcome for fact in await world.log.facts(SearchAnswered)] == ["sent"]
    assert await world.log.dead_letters() == []


async def test_a_search_whose_token_has_expired_is_not_answered(
    discord: Discord, tmp_path: Path, stages_without_reply: list[object]
) -> None:
    """Discord rejects the token, which has expired by then."""
    async with mapseek_beside(discord, tmp_path, stages=stages_without_reply) as world:  # type: ignore[arg-type]
        interaction = await discord.ask(art_png(1))
        await world.log.wait_for(SearchMatched, 1)
    told = discord.simulator.requests[EDIT_REQUEST]
    discord.simulator.now = lambda: datetime.now(UTC) + timedelta(minutes=15, seconds=1)
    async with mapseek_beside(discord, tmp_path) as world:
        await world.log.wait_for(SearchAnswered, 1)
        assert [fact.outcome for fact in await world.log.facts(SearchAnswered)] == ["expired"]
        assert await world.log.dead_letters() == []
    assert interaction.edits == 0
    assert discord.simulator.requests[EDIT_REQUEST] > told


async def test_after_fifteen_minutes_nothing_is_sent_at_all(discord: Discord, tmp_path: Path) -> None:
    """By our own clock the search is more than 15 minutes old, whatever Discord would still accept."""
    discord.simulator.now = lambda: datetime.now(UTC) - timedelta(minutes=15, seconds=1)
    async with mapseek_beside(discord, tmp_path) as world:
        interaction = await discord.ask(art_png(1))
        await world.log.wait_for(SearchAnswered, 1)
        assert [fact.outcome for fact in await world.log.facts(SearchAnswered)] == ["expired"]
    assert (interaction.edits, discord.simulator.requests[EDIT_REQUEST]) == (0, 0)


async def test_the_deferral_comes_in_time_while_the_archive_lane_is_flooded(world: World) -> None:
    for number in range(20):
        await world.discord.post(*((f"{number}-{seed}.png", art_png(seed)) for seed in range(10)))
    await world.log.wait_for(ImagePosted, 20)
    interaction = await world.discord.ask(art_png(1))
    await eventually(lambda: interaction.deferred_after_s is not None)
    busy = await count_unsettled(world.log.client, IMAGES, "embed-image-g1") + await count_unsettled(
        world.log.client, IMAGES, "download-image"
    )
    assert busy > 0
    assert interaction.deferred_after_s is not None
    assert interaction.deferred_after_s < 3
    await world.discord.simulator.answer(interaction, embedded=True)


async def test_one_correlation_id_from_command_to_reply_and_no_secret_in_any_log_line(discord: Discord, tmp_path: Path) -> None:
    environment = discord.environment(tmp_path / "data", MAPSEEK_LOG_LEVEL="debug")
    async with run_program(tmp_path / "log", "up", environment=environment) as up:
        await discord.simulator.wait_for_command("find", timeout=60)
        message = await discord.post(("dragon.png", art_png(1)))
        client = await connect(read_announced_address(tmp_path / "data" / "nats") or "", "test")
        await Log(client).wait_for(ImagePosted, 1)
        await Log(client).wait_until_idle()
        discord.simulator.faults.add(
            LOST_CONFIRMATION, "*/webhooks/*", times=EDIT_COUNT
        )  # an error's text must hold no secret either
        interaction = await discord.ask(art_png(1))
        answer = await discord.simulator.answer(interaction, embedded=True)
        await Log(client).wait_until_idle("search")
        await client.close()
        assert await up.stop() == 0
        logged = up.lines()
    assert read_link(answer) == message.jump_url

    correlation = f"interaction-{interaction.id}"
    assert [line for line in logged if str(interaction.id) in str(line) and line.get("correlation_id") != correlation] == []
    chain = [line for line in logged if line.get("correlation_id") == correlation]
    assert {line["event"] for line in chain if "stage" not in line} == {"search_requested"}
    done = Counter(line["stage"] for line in chain if line["event"] == "message_handled")
    assert done == {"download": 1, "preprocess": 1, "fingerprint": 1, "embed": 1, "match": 1, "reply": 3}
    assert {line["stage"] for line in chain if line["event"] == "message_retried"} == {"reply"}

    of_message = [line for line in logged if line.get("correlation_id") == f"message-{message.id}"]
    stages = {"download", "preprocess", "fingerprint", "embed", "persist", "link", "alert"}
    assert {line.get("stage") for line in of_message} == {None, *stages}

    text = up.log.read_text()
    for secret in (discord.simulator.token, interaction.token, "hm="):
        assert secret not in text
