"""Play the demo's script on the simulated Discord, and collect what a member would see."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from contracts.events import Fact, ImageFingerprinted, ImageIndexed
from contracts.subjects import kind_filter, stream_of
from infra.nats.connection import LogAddress
from infra.nats.reader import follow_log
from infra.sandbox.art.generate import draw_piece
from infra.sandbox.simulator.client import VisibleAnswer
from infra.sandbox.simulator.model import Channel, Member
from infra.sandbox.simulator.simulator import Simulator
from infra.vision.distortions import encode_png
from pipeline.cli.app import ReportProgress
from pipeline.demo.script import DEMO_GUILDS, DEMO_MEMBERS, DemoQuery, Post, list_posts, render_query_file
from pipeline.engine.registry import STAGES
from pipeline.process import Process, open_process
from pipeline.settings import Settings

DEMO_TIMEOUT_S = 120.0
WHY_LABEL = "Why this match?"
"""The button under an answer that shows what was compared."""


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A query, the answer that the member saw, and whether it is right. `answer` is None if none came in time.

    `why` is what the member saw after they pressed `WHY_LABEL`, if they did.
    """

    query: DemoQuery
    file: bytes
    answer: VisibleAnswer | None
    expected_link: str | None
    milliseconds: float
    why: VisibleAnswer | None = None

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
    """The simulated Discord with its channels and members, by the names in the script."""

    discord: Simulator
    channels: dict[tuple[str, str], Channel]
    members: dict[tuple[str, str], Member]

    @property
    def channel_names(self) -> dict[str, str]:
        """The names of the channels by their ids."""
        return {str(channel.id): channel.name for channel in self.channels.values()}


@asynccontextmanager
async def open_simulated_discord(folder: Path) -> AsyncIterator[tuple[Scenery, Settings]]:
    """Start the simulator with the script's channels and members, and return it with settings that connect MapSeek to it."""
    async with Simulator() as discord:
        settings = Settings(
            _env_file=None,
            data_dir=folder,
            nats_url=None,
            catalogue="sqlite",
            vectors="embedded",
            discord_token=discord.token,
            discord_api=discord.api_base,
            cdn_origins=discord.cdn_origin,
            channels="all",
            http_port=0,
        )
        yield _build_scenery(discord), settings


@asynccontextmanager
async def run_everything(scenery: Scenery, settings: Settings, address: LogAddress) -> AsyncIterator[Process]:
    """Run every stage and the gateway on a running log, and wait until the gateway is logged in."""
    async with open_process(settings, address, STAGES, with_gateway=True, monitored=True) as process:
        await scenery.discord.wait_for_command("find")
        yield process


def _build_scenery(discord: Simulator) -> Scenery:
    channels: dict[tuple[str, str], Channel] = {}
    members: dict[tuple[str, str], Member] = {}
    for name, channel_names in DEMO_GUILDS.items():
        guild = discord.add_guild(name)
        channels |= {(name, channel): discord.add_text_channel(guild, channel) for channel in channel_names}
        members |= {(name, member): discord.add_member(guild, member) for member in DEMO_MEMBERS}
    return Scenery(discord, channels, members)


async def post_pieces(scenery: Scenery, process: Process, report_progress: ReportProgress) -> tuple[dict[int, str], int]:
    """Post every piece and wait until all can be found. Return the link of each post by seed, and how many images are archived."""
    links: dict[int, str] = {}
    script = list_posts()
    for done, post in enumerate(script, 1):
        links[post.seed] = await _post_piece(scenery, post)
        report_progress("posted", done, len(script))
    arrived = []
    for kind, title in ((ImageIndexed, "archived"), (ImageFingerprinted, "fingerprinted")):
        found = 0
        async for found in count_recorded(process, kind, len(script)):
            report_progress(title, found, len(script))
        arrived.append(found)
    return links, min(*arrived, await (await process.container.catalogue()).count())


async def count_recorded(process: Process, kind: type[Fact], number: int) -> AsyncGenerator[int, None]:
    """Count the facts of one kind from the beginning of the log, until there are so many or DEMO_TIMEOUT_S is over."""
    found = 0
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(DEMO_TIMEOUT_S),
            aclosing(follow_log(process.container.client, stream_of(kind), [kind_filter(kind)])) as log,
        ):
            async for _ in log:
                found += 1
                yield found
                if found == number:
                    break


async def _post_piece(scenery: Scenery, post: Post) -> str:
    data = await asyncio.to_thread(lambda: encode_png(draw_piece(post.seed)))
    channel = scenery.channels[post.guild, post.channel]
    message = await scenery.discord.post(
        channel, scenery.members[post.guild, post.member], "my newest map", files=[(post.filename, data)], at=post.posted_at
    )
    return f"https://discord.com/channels/{channel.guild.id}/{channel.id}/{message.id}"


async def ask_queries(
    scenery: Scenery, links: dict[int, str], script: list[DemoQuery], report_progress: ReportProgress
) -> list[AskedQuery]:
    """Search for each query with /find, one after the other, as different members."""
    asked = []
    for number, query in enumerate(script, 1):
        member = scenery.members[query.guild, DEMO_MEMBERS[number % len(DEMO_MEMBERS)]]
        answered = await ask_query(scenery, query, member, links)
        asked.append(replace(answered, why=await _ask_why(scenery, answered, member)))
        report_progress("answered", number, len(script))
    return asked


async def ask_query(scenery: Scenery, query: DemoQuery, member: Member, links: dict[int, str]) -> AskedQuery:
    """Search for one query with /find, and wait for the answer. `links` are those of the posts, by seed."""
    file = await asyncio.to_thread(render_query_file, query)
    channel = scenery.channels[query.guild, query.channel]
    interaction = await scenery.discord.slash(channel, member, "find", attachments={"image": (f"query.{query.format}", file)})
    try:
        answer = await scenery.discord.answer(interaction, embedded=True, timeout=DEMO_TIMEOUT_S)
    except TimeoutError:
        return AskedQuery(query, file, None, None, DEMO_TIMEOUT_S * 1000)
    expected = None if query.answer is None else links[query.answer]
    return AskedQuery(query, file, answer, expected, (answer.answered_after_s or 0) * 1000)


async def _ask_why(scenery: Scenery, asked: AskedQuery, member: Member) -> VisibleAnswer | None:
    """Press `WHY_LABEL` and return what the member sees, but only if the piece was hard to recognise; else return None."""
    if asked.answer is None or not asked.query.is_hard or asked.link is None:
        return None
    return await scenery.discord.answer(await scenery.discord.press(asked.answer, member, label=WHY_LABEL), timeout=DEMO_TIMEOUT_S)
