"""The demo's scenes after the questions: the other ways to ask, a vote, an alert, forgetting, and a restart that catches up."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from contracts.events import Fact, ImageIndexed, ImageRemoved, SearchJudged
from infra.sandbox.art.generate import piece
from infra.sandbox.simulator.client import Answer
from infra.sandbox.simulator.model import Channel, Member, Message
from infra.vision.distortions import png, reencode
from pipeline.demo.play import PATIENCE_S, Scenery, recorded
from pipeline.demo.script import FORGETFUL, GUILDS, KNOWN, LATE, PIECES, WANTED, posts
from pipeline.demo.terminal import Terminal
from pipeline.process import Process

HOME = next(iter(GUILDS))
GALLERY, COMMISSIONS = GUILDS[HOME]
FRESH = "fresh.png"
FORGOTTEN = [post.seed for post in posts() if (post.guild, post.member) == (HOME, FORGETFUL)]


@dataclass(frozen=True, slots=True)
class Scene:
    """What was done, what was seen then, and whether that is what the demo promises. `picture` is what was asked with, as PNG."""

    title: str
    did: str
    seen: Answer | Message | Terminal
    right: bool
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the scenes are played."""

    scenery: Scenery
    process: Process
    links: dict[int, str]

    def channel(self, name: str = GALLERY) -> Channel:
        return self.scenery.channels[HOME, name]

    def member(self, name: str) -> Member:
        return self.scenery.members[HOME, name]

    async def find(self, picture: bytes, name: str = "Noor") -> Answer:
        """/find with a picture, and the answer."""
        discord = self.scenery.discord
        asked = await discord.slash(self.channel(), self.member(name), "find", attachments={"image": ("question.png", picture)})
        return await discord.answer(asked, embedded=True, timeout=PATIENCE_S)

    async def press(self, target: Answer | Message, label: str, name: str = "Noor") -> Answer:
        """Press a button, and what is seen then."""
        discord = self.scenery.discord
        return await discord.answer(await discord.press(target, self.member(name), label=label), timeout=PATIENCE_S)

    async def post(self, picture: bytes, filename: str, name: str, *, channel: str = GALLERY) -> Message:
        return await self.scenery.discord.post(self.channel(channel), self.member(name), "look", files=[(filename, picture)])

    async def wait_for(self, kind: type[Fact], number: int) -> None:
        """Return once so many facts of a kind are recorded, or when patience is at its end."""
        async with aclosing(recorded(self.process, kind, number)) as facts:
            async for _ in facts:
                continue


def link_of(seen: Answer) -> str | None:
    """The post that an answer names."""
    return next((str(embed["url"]) for embed in seen.embeds if embed.get("url")), None)


async def play(stage: Stage, trained: bool) -> AsyncIterator[Scene]:
    """The scenes while the bot runs."""
    picture = png(reencode(piece(KNOWN), 60))
    again = await stage.post(picture, "who-made-this.png", "Steve", channel=COMMISSIONS)
    await stage.wait_for(ImageIndexed, PIECES + 1)
    yield await _right_click(stage, again, picture)
    answer = await stage.find(picture)
    yield await _all_posts(stage, answer)
    yield await _vote(stage, answer)
    yield await _in_words(stage, trained)
    for scene in await _alert(stage):
        yield scene
    yield await _forget(stage)


async def _right_click(stage: Stage, message: Message, picture: bytes) -> Scene:
    discord = stage.scenery.discord
    asked = await discord.message_command(message.channel, stage.member("Noor"), "Find this map", message)
    answer = await discord.answer(asked, embedded=True, timeout=PATIENCE_S)
    did = "Steve posts a re-encoded copy; Noor right-clicks it: Apps, Find this map"
    return Scene("Find this map", did, answer, link_of(answer) == stage.links[KNOWN], picture)


async def _all_posts(stage: Stage, answer: Answer) -> Scene:
    seen = await stage.press(answer, "Posted 2 times")
    return Scene(
        "Every post of a piece", "Noor asks with /find and presses “Posted 2 times”", seen, "Posted 2 times" in str(seen.embeds)
    )


async def _vote(stage: Stage, answer: Answer) -> Scene:
    seen = await stage.press(await stage.press(answer, "Back to the result"), "This is it")
    await stage.wait_for(SearchJudged, 1)
    return Scene(
        "A vote", "Noor goes back and presses “This is it”. The vote is kept to measure the search with", seen, bool(seen.content)
    )


async def _in_words(stage: Stage, trained: bool) -> Scene:
    discord = stage.scenery.discord
    asked = await discord.slash(stage.channel(), stage.member("Kai"), "find-text", options={"query": "a lighthouse at night -boat"})
    answer = await discord.answer(asked, embedded=True, timeout=PATIENCE_S)
    return Scene(
        "In words", "Kai asks /find-text query: a lighthouse at night -boat", answer, trained or "words" in str(answer.embeds)
    )


async def _alert(stage: Stage) -> list[Scene]:
    discord, wanted = stage.scenery.discord, png(piece(WANTED))
    nothing = await stage.find(wanted, "Sunny")
    promise = await stage.press(nothing, "Notify me if it's posted", "Sunny")
    post = await stage.post(wanted, FRESH, "Alex")
    await discord.until(lambda: bool(discord.direct_messages(stage.member("Sunny"))), timeout=PATIENCE_S)
    told = discord.direct_messages(stage.member("Sunny"))[0]
    did = "Sunny asks for a picture that nobody has posted, and presses “Notify me if it's posted”"
    return [
        Scene("An honest no, and an alert", did, promise, link_of(nothing) is None, wanted),
        Scene("It is posted", "Alex posts it, and Sunny gets a DM", told, post.jump_url in f"{told.content} {told.embeds}"),
    ]


async def _forget(stage: Stage) -> Scene:
    discord = stage.scenery.discord
    asked = await discord.slash(stage.channel(), stage.member(FORGETFUL), "forget me")
    await stage.press(await discord.answer(asked, timeout=PATIENCE_S), "Yes, forget all of it", FORGETFUL)
    await stage.wait_for(ImageRemoved, len(FORGOTTEN))
    picture = png(piece(FORGOTTEN[0]))
    answer = await stage.find(picture)
    did = f"{FORGETFUL} says /forget me and confirms; then Noor asks for a piece that {FORGETFUL} had posted"
    return Scene("Forgotten", did, answer, link_of(answer) is None, picture)


async def happen_while_away(stage: Stage) -> Message:
    """What happens on Discord while the bot is switched off: new posts, and one old one is deleted. Returns the last post."""
    last = [await stage.post(png(piece(seed)), f"late-{seed}.png", "Alex") for seed in LATE][-1]
    wanted = next(message for message in stage.channel().messages.values() if message.attachments[0].filename == FRESH)
    await stage.scenery.discord.delete(wanted)
    return last


async def back_again(stage: Stage, last: Message) -> AsyncIterator[Scene]:
    """The scenes after the restart: what was posted meanwhile is found, what was deleted is not."""
    await stage.wait_for(ImageIndexed, PIECES + 2 + len(LATE))
    await stage.wait_for(ImageRemoved, len(FORGOTTEN) + 1)
    late, deleted = png(piece(LATE[-1])), png(piece(WANTED))
    answer = await stage.find(late)
    did = f"While the bot was off, {len(LATE)} pieces were posted and one was deleted. It starts again; Noor asks for a new one"
    yield Scene("Caught up", did, answer, link_of(answer) == last.jump_url, late)
    answer = await stage.find(deleted)
    yield Scene("Deleted meanwhile", "Noor asks for the one that was deleted", answer, link_of(answer) is None, deleted)
