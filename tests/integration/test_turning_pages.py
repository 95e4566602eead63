"""The reply stage and a real client on the simulated Discord: progress, the answer, and its pages at the press of a button."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from disnake.http import Route

from contracts.envelope import Origin
from contracts.events import DiscordReply, Evidence, Fact, Match, Person, Question, SearchBrowsed, SearchMatched, SearchPreprocessed
from contracts.ports import Document
from infra.discord.answers.buttons import BROWSE, parse_custom_id
from infra.discord.answers.webhook import WebhookAnswers
from infra.discord.gateway import simulator_endpoint
from infra.sandbox.simulator import Channel, Interaction, Member, Simulator
from infra.sandbox.simulator.client import VisibleAnswer
from stages.reply import Deps, handle
from tests.support.fakes import MemoryBlobs, MemoryCatalogue, MemoryJournal
from tests.support.gateway import RecordingBot, log_in, png_file


@dataclass
class Place:
    simulator: Simulator
    channel: Channel
    steve: Member
    alex: Member
    bot: RecordingBot
    deps: Deps
    journal: MemoryJournal

    async def deliver(self, fact: Fact) -> None:
        await self.journal.record(fact, Origin("test"))
        for caused in await handle(fact, self.deps):
            await self.journal.record(caused, Origin("test"))

    async def ask(self) -> tuple[Interaction, Question]:
        """Let Steve search, and return the interaction, which the client deferred, with its question."""
        attachments = {"image": ("shot.png", png_file())}
        interaction = await self.simulator.slash(self.channel, self.steve, "find", attachments=attachments)
        heard = await self.bot.next("application_command")
        await self.bot.next("slash_command_completion")
        return interaction, question(heard)

    async def press(
        self, shown: VisibleAnswer, member: Member, label: str, *, readable: tuple[str, ...] | None = None
    ) -> VisibleAnswer:
        """Press a button and return what the member sees: the asker the same message, anybody else a copy of their own."""
        interaction = await self.simulator.press(shown.message, member, label=label)
        heard = await self.bot.next("button_click")
        parts = parse_custom_id(heard.component.custom_id, BROWSE, 5)
        assert parts is not None
        search_id, asker_id, view, piece, page = parts
        if asker_id == str(member.id) and view != "why":
            await heard.response.defer()
        else:
            await heard.response.defer(with_message=True, ephemeral=True)
        await self.deliver(
            SearchBrowsed(
                guild_id=str(self.channel.guild.id),
                search_id=search_id,
                interaction_id=str(heard.id),
                question=question(heard, readable),
                view=view,
                piece=int(piece),
                page=int(page),
            )
        )
        return await self.simulator.answer(interaction)


def question(heard: Any, readable: tuple[str, ...] | None = None) -> Question:
    reply = DiscordReply(application_id=str(heard.application_id), token=heard.token)
    asker = Person(id=str(heard.author.id), name=heard.author.name)
    return Question(asker=asker, requested_at=datetime.now(UTC), reply=reply, readable_channels=readable)


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    async with Simulator() as simulator, WebhookAnswers() as answers:
        simulator_endpoint(simulator.api_base).use()
        guild = simulator.add_guild("G")
        channel = simulator.add_text_channel(guild, "gallery")
        steve, alex = (simulator.add_member(guild, name) for name in ("Steve", "Alex"))
        catalogue, blobs, journal = MemoryCatalogue(), MemoryBlobs(), MemoryJournal()
        for day, (image_id, channel_id) in enumerate((("1", "77"), ("2", "88"), ("3", "77")), start=1):
            metadata = {
                "guild_id": str(guild.id),
                "channel_id": channel_id,
                "user_name": f"Painter {image_id}",
                "filename": "map.png",
                "upload_timestamp": f"2024-03-{day:02}T12:30:00+00:00",
            }
            link = f"https://discord.com/channels/{guild.id}/{channel_id}/{image_id}"
            media = {"thumbnail": await blobs.put(b"webp" + image_id.encode())}
            await catalogue.merge(image_id, {"message_link": link, "metadata": metadata, "media": media})
        deps = Deps(answers, catalogue, blobs, journal, drawn, lambda: datetime.now(UTC))
        async with log_in(simulator) as bot:
            yield Place(simulator, channel, steve, alex, bot, deps, journal)


async def drawn(_: SearchMatched, match: Match, document: Document, __: str) -> bytes | None:
    """A fake of the function that draws why an image was found."""
    return f"why {match.image_id} in {document['metadata']['channel_id']}".encode()


def matched(place: Place, asked: Question) -> SearchMatched:
    """Return a match of two pieces: posts 3 and 2 are one piece, of which 3 is the most similar; post 1 is the other."""
    matches = (Match(image_id="3", score=0.97, posts=("2",)), Match(image_id="1", score=0.6))
    return SearchMatched(
        guild_id=str(place.channel.guild.id),
        search_id="9",
        question=asked,
        generation="g1",
        verdict="match",
        matches=matches,
        trained=True,
    )


def headline(shown: VisibleAnswer) -> str:
    return str(shown.embeds[0]["title"])


async def test_the_asker_sees_the_progress_and_turns_the_pages_of_the_same_message(place: Place) -> None:
    interaction, asked = await place.ask()
    step = SearchPreprocessed(
        guild_id=str(place.channel.guild.id),
        search_id="9",
        question=asked,
        pixels="0" * 64,
        width=1,
        height=1,
        preprocessing="p1",
    )
    await place.deliver(step)
    assert (await place.simulator.answer(interaction)).content == "Searching the archive…"
    await place.deliver(matched(place, asked))
    first = await place.simulator.answer(interaction)
    assert (first.content, headline(first), first.attachments) == (
        "",
        "Found it: first posted by Painter 2",
        [("map.webp", b"webp3")],
    )
    second = await place.press(first, place.steve, "Next")
    assert (second.message, headline(second), second.attachments) == (
        first.message,
        "Another result: first posted by Painter 1",
        [("map.webp", b"webp1")],
    )
    back = await place.press(second, place.steve, "Previous")
    posts = await place.press(back, place.steve, "Posted 2 times")
    assert (headline(posts), [line.split()[2] for line in posts.embeds[0]["description"].split("\n")]) == (
        "Posted 2 times",
        ["**Painter", "**Painter"],
    )
    again = await place.press(posts, place.steve, "Back to the result")
    assert (again.message, again.embeds[0]["title"], list(again.buttons)) == (first.message, headline(first), list(first.buttons))


async def test_another_member_turns_pages_of_a_copy_with_what_they_may_read(place: Place) -> None:
    interaction, asked = await place.ask()
    await place.deliver(matched(place, asked))
    original = await place.simulator.answer(interaction)
    copy = await place.press(original, place.alex, "Posted 2 times", readable=("77",))
    assert copy.ephemeral
    assert copy.message is not original.message
    assert copy.embeds[0]["description"].count("**Painter") == 1
    turned = await place.press(copy, place.alex, "Back to the result", readable=("77",))
    assert (turned.message, headline(turned)) == (copy.message, "Found it: first posted by Painter 3")
    assert "Painter 2" not in str(turned.embeds)
    assert headline(await place.simulator.answer(interaction)) == "Found it: first posted by Painter 2"


async def test_a_member_who_asks_why_gets_the_picture_in_a_private_message(place: Place) -> None:
    interaction, asked = await place.ask()
    found = matched(place, asked)
    best = found.matches[0].model_copy(update={"evidence": Evidence(by="points", points=143, angle=True)})
    await place.deliver(found.model_copy(update={"matches": (best, *found.matches[1:])}))
    original = await place.simulator.answer(interaction)
    why = await place.press(original, place.steve, "Why this match?")
    assert (why.ephemeral, why.message is original.message, list(why.buttons)) == (True, False, [])
    assert "Same picture, seen at an angle: 143 matching points." in why.embeds[0]["description"]
    assert why.attachments == [("why.png", b"why 3 in 77")]
    other = await place.press(original, place.alex, "Why this match?")
    assert (other.ephemeral, other.attachments) == (True, [])
    assert "143 matching points" in other.embeds[0]["description"]
    assert headline(await place.simulator.answer(interaction)) == headline(original)
