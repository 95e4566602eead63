"""Plays the demo's script through the simulated Discord and collects what a member would see."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from contracts.events import ImageIndexed
from contracts.subjects import IMAGES, kind_filter
from infra.art.distort import png
from infra.art.generate import piece
from infra.nats.tail import follow
from infra.simulator.model import Channel, Member
from infra.simulator.simulator import Answer, Simulator
from pipeline.demo.script import GUILDS, MEMBERS, Post, Question, posts, question_file
from pipeline.process import Process, log_server, running
from pipeline.registry import STAGES
from pipeline.settings import Settings

PATIENCE_S = 120.0

Progress = Callable[[str, int, int], None]
"""Told what is done, how many of it are, and of how many."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, what the member saw in answer, and whether that is right. `answer` is None when none came in time."""

    question: Question
    file: bytes
    answer: Answer | None
    expected_link: str | None
    milliseconds: float

    @property
    def link(self) -> str | None:
        """The message that the answer names first."""
        embeds = self.answer.embeds if self.answer else []
        return next((str(embed["url"]) for embed in embeds if embed.get("url")), None)

    @property
    def verdict(self) -> str:
        return "no answer" if self.answer is None else str(self.answer.embeds[0]["title"]).split(":")[0]

    @property
    def right(self) -> bool:
        return self.answer is not None and self.link == self.expected_link


@dataclass(frozen=True, slots=True)
class Scenery:
    """The simulated Discord with its places and people, by the names in the script."""

    discord: Simulator
    channels: dict[tuple[str, str], Channel]
    members: dict[tuple[str, str], Member]


@asynccontextmanager
async def everything_running(folder: Path) -> AsyncIterator[tuple[Scenery, Process]]:
    """The simulator, the log server, every stage and the gateway, logged in."""
    async with Simulator() as discord:
        scenery = _scenery(discord)
        settings = Settings(
            _env_file=None,
            data_dir=folder,
            discord_token=discord.token,
            discord_api=discord.api_base,
            cdn_origins=discord.cdn_origin,
            channels="all",
            http_port=0,
        )
        async with (
            log_server(settings) as url,
            running(settings, url, STAGES, with_gateway=True, monitored=True) as process,
        ):
            await discord.wait_for_command("find")
            yield scenery, process


def _scenery(discord: Simulator) -> Scenery:
    channels: dict[tuple[str, str], Channel] = {}
    members: dict[tuple[str, str], Member] = {}
    for name, channel_names in GUILDS.items():
        guild = discord.add_guild(name)
        channels |= {(name, channel): discord.add_text_channel(guild, channel) for channel in channel_names}
        members |= {(name, member): discord.add_member(guild, member) for member in MEMBERS}
    return Scenery(discord, channels, members)


async def post_all(scenery: Scenery, process: Process, progress: Progress) -> tuple[dict[int, str], int]:
    """Post every piece and wait for the catalogue. Returns the link of each post by seed, and how many images arrived."""
    links: dict[int, str] = {}
    script = posts()
    for done, post in enumerate(script, 1):
        links[post.seed] = await _post(scenery, post)
        progress("posted", done, len(script))
    indexed = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            async for _ in follow(process.wiring.client, IMAGES, [kind_filter(ImageIndexed)]):
                indexed += 1
                progress("archived", indexed, len(script))
                if indexed == len(script):
                    break
    catalogue = await process.wiring.catalogue()
    return links, min(indexed, await catalogue.count())


async def _post(scenery: Scenery, post: Post) -> str:
    data = await asyncio.to_thread(lambda: png(piece(post.seed)))
    channel = scenery.channels[post.guild, post.channel]
    message = await scenery.discord.post(
        channel, scenery.members[post.guild, post.member], "my newest map", files=[(post.filename, data)], at=post.posted_at
    )
    return f"https://discord.com/channels/{channel.guild.id}/{channel.id}/{message.id}"


async def ask_all(scenery: Scenery, links: dict[int, str], script: list[Question], progress: Progress) -> list[Asked]:
    """Ask each question with /find, one after the other, as different members."""
    asked = []
    for number, question in enumerate(script, 1):
        member = scenery.members[question.guild, MEMBERS[number % len(MEMBERS)]]
        asked.append(await _ask(scenery, question, member, links))
        progress("answered", number, len(script))
    return asked


async def _ask(scenery: Scenery, question: Question, member: Member, links: dict[int, str]) -> Asked:
    file = await asyncio.to_thread(question_file, question)
    channel = scenery.channels[question.guild, question.channel]
    interaction = await scenery.discord.slash(channel, member, "find", attachments={"image": ("question.png", file)})
    try:
        answer = await scenery.discord.answer(interaction, timeout=PATIENCE_S)
    except TimeoutError:
        return Asked(question, file, None, None, PATIENCE_S * 1000)
    expected = None if question.answer is None else links[question.answer]
    return Asked(question, file, answer, expected, (answer.answered_after_s or 0) * 1000)
