"""The demo's scenes after the searches: other ways to search, a vote, an alert, forgetting, and a restart with catching up."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from contracts.events import Fact, ImageIndexed, ImageRemoved, SearchJudged
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator.client import VisibleAnswer
from infra.sandbox.simulator.model import Channel, Member, Message
from infra.vision.distortions import encode_png, reencode
from pipeline.demo.play import DEMO_TIMEOUT_S, Scenery, count_recorded
from pipeline.demo.script import DEMO_GUILDS, FORGETFUL_MEMBER, KNOWN_SEED, LATE_SEEDS, PIECE_COUNT, WANTED_SEED, list_posts
from pipeline.demo.terminal import Terminal
from pipeline.process import Process

HOME_GUILD = next(iter(DEMO_GUILDS))
GALLERY, COMMISSIONS = DEMO_GUILDS[HOME_GUILD]
FRESH_FILENAME = "fresh.png"
FORGOTTEN_SEEDS = [post.seed for post in list_posts() if (post.guild, post.member) == (HOME_GUILD, FORGETFUL_MEMBER)]


@dataclass(frozen=True, slots=True)
class DemoScene:
    """What was done, what was seen then, and whether that is right. `picture` is the query's picture as PNG."""

    title: str
    did: str
    seen: VisibleAnswer | Message | Terminal
    right: bool
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class SceneContext:
    """What the scenes are played with: the simulated Discord, the process, and the links of the posts by seed."""

    scenery: Scenery
    process: Process
    links: dict[int, str]

    def channel(self, name: str = GALLERY) -> Channel:
        return self.scenery.channels[HOME_GUILD, name]

    def member(self, name: str) -> Member:
        return self.scenery.members[HOME_GUILD, name]

    async def find(self, picture: bytes, name: str = "Noor") -> VisibleAnswer:
        """Search with /find for a picture, and return the answer."""
        discord = self.scenery.discord
        asked = await discord.slash(self.channel(), self.member(name), "find", attachments={"image": ("query.png", picture)})
        return await discord.answer(asked, embedded=True, timeout=DEMO_TIMEOUT_S)

    async def press(self, target: VisibleAnswer | Message, label: str, name: str = "Noor") -> VisibleAnswer:
        """Press a button, and return what is seen then."""
        discord = self.scenery.discord
        return await discord.answer(await discord.press(target, self.member(name), label=label), timeout=DEMO_TIMEOUT_S)

    async def post(self, picture: bytes, filename: str, name: str, *, channel: str = GALLERY) -> Message:
        return await self.scenery.discord.post(self.channel(channel), self.member(name), "look", files=[(filename, picture)])

    async def wait_for(self, kind: type[Fact], number: int) -> None:
        """Wait until so many facts of a kind are recorded, or DEMO_TIMEOUT_S is over."""
        async with aclosing(count_recorded(self.process, kind, number)) as facts:
            async for _ in facts:
                continue


def find_answer_link(seen: VisibleAnswer) -> str | None:
    """Return the link of the post that an answer names, or None."""
    return next((str(embed["url"]) for embed in seen.embeds if embed.get("url")), None)


async def play_scenes(stage: SceneContext, trained: bool) -> AsyncIterator[DemoScene]:
    """Play the scenes while the bot runs."""
    picture = encode_png(reencode(draw_piece(KNOWN_SEED), 60))
    again = await stage.post(picture, "who-made-this.png", "Steve", channel=COMMISSIONS)
    await stage.wait_for(ImageIndexed, PIECE_COUNT + 1)
    yield await _play_right_click(stage, again, picture)
    answer = await stage.find(picture)
    yield await _play_all_posts(stage, answer)
    yield await _play_vote(stage, answer)
    yield await _play_words(stage, trained)
    for scene in await _play_alert(stage):
        yield scene
    yield await _play_forgetting(stage)


async def _play_right_click(stage: SceneContext, message: Message, picture: bytes) -> DemoScene:
    discord = stage.scenery.discord
    asked = await discord.message_command(message.channel, stage.member("Noor"), "Find this map", message)
    answer = await discord.answer(asked, embedded=True, timeout=DEMO_TIMEOUT_S)
    did = "Steve posts a re-encoded copy; Noor right-clicks it: Apps, Find this map"
    return DemoScene("Find this map", did, answer, find_answer_link(answer) == stage.links[KNOWN_SEED], picture)


async def _play_all_posts(stage: SceneContext, answer: VisibleAnswer) -> DemoScene:
    seen = await stage.press(answer, "Posted 2 times")
    return DemoScene(
        "Every post of a piece", "Noor searches with /find and presses “Posted 2 times”", seen, "Posted 2 times" in str(seen.embeds)
    )


async def _play_vote(stage: SceneContext, answer: VisibleAnswer) -> DemoScene:
    seen = await stage.press(await stage.press(answer, "Back to the result"), "This is it")
    await stage.wait_for(SearchJudged, 1)
    return DemoScene(
        "A vote", "Noor goes back and presses “This is it”. The vote is kept to measure the search with", seen, bool(seen.content)
    )


async def _play_words(stage: SceneContext, trained: bool) -> DemoScene:
    discord = stage.scenery.discord
    asked = await discord.slash(stage.channel(), stage.member("Kai"), "find-text", options={"query": "a lighthouse at night -boat"})
    answer = await discord.answer(asked, embedded=True, timeout=DEMO_TIMEOUT_S)
    return DemoScene(
        "In words",
        "Kai searches with /find-text query: a lighthouse at night -boat",
        answer,
        trained or "words" in str(answer.embeds),
    )


async def _play_alert(stage: SceneContext) -> list[DemoScene]:
    discord, wanted = stage.scenery.discord, encode_png(draw_piece(WANTED_SEED))
    nothing = await stage.find(wanted, "Sunny")
    promise = await stage.press(nothing, "Notify me if it's posted", "Sunny")
    post = await stage.post(wanted, FRESH_FILENAME, "Alex")
    await discord.until(lambda: bool(discord.direct_messages(stage.member("Sunny"))), timeout=DEMO_TIMEOUT_S)
    notice = discord.direct_messages(stage.member("Sunny"))[0]
    did = "Sunny searches for a picture that nobody has posted, and presses “Notify me if it's posted”"
    return [
        DemoScene("An honest no, and an alert", did, promise, find_answer_link(nothing) is None, wanted),
        DemoScene(
            "It is posted", "Alex posts it, and Sunny gets a DM", notice, post.jump_url in f"{notice.content} {notice.embeds}"
        ),
    ]


async def _play_forgetting(stage: SceneContext) -> DemoScene:
    discord = stage.scenery.discord
    asked = await discord.slash(stage.channel(), stage.member(FORGETFUL_MEMBER), "forget me")
    await stage.press(await discord.answer(asked, timeout=DEMO_TIMEOUT_S), "Yes, delete everything", FORGETFUL_MEMBER)
    await stage.wait_for(ImageRemoved, len(FORGOTTEN_SEEDS))
    picture = encode_png(draw_piece(FORGOTTEN_SEEDS[0]))
    answer = await stage.find(picture)
    did = f"{FORGETFUL_MEMBER} uses /forget me and confirms; then Noor searches for a piece that {FORGETFUL_MEMBER} had posted"
    return DemoScene("Forgotten", did, answer, find_answer_link(answer) is None, picture)


async def change_while_away(stage: SceneContext) -> Message:
    """Change Discord while the bot is off: post new pieces and delete an old post. Return the last new post."""
    last = [await stage.post(encode_png(draw_piece(seed)), f"late-{seed}.png", "Alex") for seed in LATE_SEEDS][-1]
    wanted = next(message for message in stage.channel().messages.values() if message.attachments[0].filename == FRESH_FILENAME)
    await stage.scenery.discord.delete(wanted)
    return last


async def play_scenes_after_restart(stage: SceneContext, last: Message) -> AsyncIterator[DemoScene]:
    """Play the scenes after the restart: the new posts are found, and the deleted one is not."""
    await stage.wait_for(ImageIndexed, PIECE_COUNT + 2 + len(LATE_SEEDS))
    await stage.wait_for(ImageRemoved, len(FORGOTTEN_SEEDS) + 1)
    late, deleted = encode_png(draw_piece(LATE_SEEDS[-1])), encode_png(draw_piece(WANTED_SEED))
    answer = await stage.find(late)
    did = (
        f"While the bot was off, {len(LATE_SEEDS)} pieces were posted and one was deleted. It starts again; "
        "Noor searches for a new one"
    )
    yield DemoScene("Caught up", did, answer, find_answer_link(answer) == last.jump_url, late)
    answer = await stage.find(deleted)
    yield DemoScene(
        "Deleted while away", "Noor searches for the one that was deleted", answer, find_answer_link(answer) is None, deleted
    )
