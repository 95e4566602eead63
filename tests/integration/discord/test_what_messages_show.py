"""What a message shows is what is archived: live, caught up, back-filled and scanned again, after any edits, readable or not.

The real disnake client reads payloads of today's Discord from the simulator; the log is in memory. The model of an edited message
is written from Discord's documentation (Message object, Components reference, message flags).
"""

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from contracts.envelope import Origin
from contracts.events import RemovalRequested
from infra.sandbox.simulator import Message, Permission
from stages import remove
from tests.integration.discord.test_archive import read_mark
from tests.integration.discord.test_archive_command import is_finished, start_backfill
from tests.integration.test_discord_compare import UNREADABLE
from tests.support.fakes import MemoryErasure, MemoryJournal, MemoryPosts, MemoryState, MemoryUnreadable
from tests.support.gateway import Discord, run_listening_gateway, simulated_discord
from tests.support.payloads import Json, attachment
from tests.support.waiting import eventually

CDN = "https://cdn.discordapp.com/attachments/201"
WAYS = ("live", "catch-up", "back-fill", "rescan")


def media(url: str, **fields: Any) -> Json:
    return {"url": url, "proxy_url": url, "width": 128, "height": 128, "content_type": "image/png", **fields}


def link(name: str) -> Json:
    return {"type": "image", "url": f"https://example.org/{name}", "thumbnail": media(f"https://example.org/{name}")}


def gallery(*urls: str) -> Json:
    return {"type": 12, "id": 1, "items": [{"media": media(url), "description": None, "spoiler": False} for url in urls]}


def container(*components: Json) -> Json:
    return {"type": 17, "id": 2, "accent_color": None, "spoiler": False, "components": list(components)}


def file(number: int, name: str) -> Json:
    url = f"{CDN}/{number}/{name}?ex=1&is=1&hm=0&"
    return attachment(number, filename=name, url=url, proxy_url=url)


OWN_CASES: list[tuple[Json, int]] = [
    ({"attachments": [file(900, "a.png"), attachment(901, filename="b.mp4", content_type="video/mp4", width=9, height=9)]}, 1),
    ({"attachments": [attachment(902, filename="x", content_type=None, width=128, height=128)]}, 1),
    ({"flags": 1 << 15, "components": [container(container(gallery("https://e.org/1.png", "https://e.org/2.png")))]}, 2),
    ({"flags": 1 << 15, "components": [{"type": 77, "components": [gallery("https://e.org/3.png")]}]}, 1),
    (
        {
            "flags": 1 << 15,
            "components": [{"type": 13, "file": media(f"{CDN}/903/p.pdf", content_type="application/pdf", width=0)}],
        },
        0,
    ),
    ({"embeds": [link("4.png"), link("4.png"), {"type": "video", "thumbnail": media("https://e.org/5.png")}]}, 1),
    ({"message_snapshots": [{"message": {"embeds": [link("6.png")], "components": [gallery("https://e.org/7.png")]}}]}, 2),
    ({"type": 21, "message_reference": {"channel_id": "1", "message_id": "2"}}, 0),
    ({"content": "only words"}, 0),
]


def read_shared(name: str) -> Any:
    """Return a file that lies beside Discord's OpenAPI document; an empty list where that is not at hand."""
    document = os.environ.get("MAPSEEK_DISCORD_OPENAPI")
    return json.loads(Path(document).with_name(name).read_text()) if document else []


CASES = [*OWN_CASES, *((case["message"], case["pictures"]) for case in read_shared("messages.json"))]


@dataclass
class Archive:
    """The log, the state and the dead letters of a gateway that is started and stopped."""

    discord: Discord
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    state: MemoryState = field(default_factory=MemoryState)
    unreadable: MemoryUnreadable = field(default_factory=MemoryUnreadable)
    sentinel: Message | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the gateway. At the end everything that happened on Discord is recorded."""
        async with run_listening_gateway(
            self.discord, self.journal, state=self.state, unreadable=self.unreadable, now=lambda: self.now
        ):
            yield
            await self.settle()

    async def settle(self) -> None:
        """Wait until the gateway has recorded what happened until now, and let the stage remove work."""
        sentinel = self.sentinel = await self.discord.post("sentinel.png")
        await eventually(lambda: read_mark(self.state, self.discord) == sentinel.id)
        for request in self.list_requests():
            deps = remove.Deps(MemoryPosts(self.journal), MemoryErasure(self.journal))
            for tombstone in await remove.handle(request, deps):
                await self.journal.record(tombstone, Origin("test"))

    async def rescan(self) -> None:
        """Run the gateway until it has compared the last days with the log: until it notices that the last sentinel is deleted."""
        assert self.sentinel is not None
        gone = self.sentinel
        await self.discord.simulator.delete(gone)
        async with self.run():
            await eventually(lambda: any(each.target == str(gone.id) for each in self.list_requests()))

    def list_requests(self) -> list[RemovalRequested]:
        return [fact for fact in self.journal.facts if isinstance(fact, RemovalRequested)]

    async def list_shown(self, message: Message) -> list[str]:
        """Return the file names of the pictures of a message that can be found."""
        known = await MemoryPosts(self.journal).read_message(str(self.discord.guild.id), str(message.id))
        return sorted(each.post.filename for each in known if each.post is not None and not each.hidden and not each.removed)


@pytest.fixture
def archive(discord: Discord) -> Archive:
    return Archive(discord)


async def post_cases(archive: Archive, cases: Sequence[Json], way: str) -> list[Message]:
    """Post messages so that the gateway hears of them in one way only, and wait until it has."""
    discord, plain = archive.discord, {"content": "nothing yet"}

    async def post_all(contents: Sequence[Json]) -> list[Message]:
        return [await discord.simulator.post_payload(discord.gallery, each, by=discord.steve) for each in contents]

    if way == "live":
        async with archive.run():
            return await post_all(cases)
    if way == "back-fill":
        messages = await post_all(cases)
        role = discord.simulator.add_role(discord.guild, "Managers", Permission.MANAGE_GUILD)
        manager = discord.simulator.add_member(discord.guild, "Alex", roles=[role])
        ports = {"state": archive.state, "unreadable": archive.unreadable}
        async with run_listening_gateway(discord, archive.journal, channels=[discord.lounge], **ports):
            await start_backfill(discord, manager, discord.gallery)
            await eventually(lambda: is_finished(archive.state, discord))
        return messages
    async with archive.run():
        messages = [] if way == "catch-up" else await post_all([plain] * len(cases))
    if way == "catch-up":
        messages = await post_all(cases)
        async with archive.run():
            return messages
    for message, case in zip(messages, cases, strict=True):
        await discord.simulator.edit_payload(message, case)
    await archive.rescan()
    return messages


@pytest.mark.parametrize("way", WAYS)
async def test_exactly_the_pictures_of_each_kind_of_message_are_archived(archive: Archive, way: str) -> None:
    messages = await post_cases(archive, [fields for fields, _ in CASES], way)
    shown = [len(await archive.list_shown(message)) for message in messages]
    assert shown == [pictures for _, pictures in CASES]
    assert archive.unreadable.kept == {}


OWN_EDITS: list[tuple[list[Json], list[str]]] = [
    ([{"embeds": [link("a.png")]}, {"embeds": [], "flags": 4}, {"embeds": [link("a.png")]}], ["a.png"]),
    ([{"embeds": [link("a.png")]}, {"embeds": [link("b.png")]}, {"embeds": [link("a.png")]}], ["a.png"]),
    ([{"components": [gallery("https://e.org/a.png")]}, {"components": [container(gallery("https://e.org/b.png"))]}], ["b.png"]),
    (
        [{"components": [gallery("https://e.org/a.png")]}, {"embeds": [{"type": "rich", "image": media("https://e.org/a.png")}]}],
        ["a.png"],
    ),
    ([{"attachments": [file(910, "a.png")]}, {"components": [gallery(f"{CDN}/910/a.png?ex=2&is=2&hm=2&")]}], ["a.png"]),
    (
        [{"content": "soon"}, {"attachments": [file(911, "a.png"), file(912, "b.png")]}, {"attachments": [file(912, "b.png")]}],
        ["b.png"],
    ),
    ([{"embeds": [link("a.png"), link("b.png")]}, {"embeds": [link("b.png"), link("a.png")]}], ["a.png", "b.png"]),
]
EDITS = [*OWN_EDITS, *((case["versions"], case["shown_in_the_end"]) for case in read_shared("edits.json"))]


@pytest.mark.parametrize("way", ["live", "rescan"])
@pytest.mark.parametrize("by_bot", [False, True], ids=["by a person", "by a bot"])
async def test_after_its_edits_a_message_has_exactly_the_pictures_that_it_shows(archive: Archive, way: str, by_bot: bool) -> None:
    discord = archive.discord
    discord.steve.user.bot = by_bot

    async def edit_all(messages: Mapping[int, Message]) -> None:
        for number, message in messages.items():
            for version in EDITS[number][0][1:]:
                await discord.simulator.edit_payload(message, version)

    for group in (range(0, len(EDITS), 2), range(1, len(EDITS), 2)):  # the attachments of two cases may have the same ids
        archive.journal, archive.state = MemoryJournal(), MemoryState()
        messages = {}
        async with archive.run():
            for number in group:
                messages[number] = await discord.simulator.post_payload(discord.gallery, EDITS[number][0][0], by=discord.steve)
            if way == "live":
                await edit_all(messages)
        if way == "rescan":
            await edit_all(messages)
            await archive.rescan()
        assert {number: await archive.list_shown(message) for number, message in messages.items()} == {
            number: EDITS[number][1] for number in group
        }


@pytest.mark.parametrize("way", WAYS)
async def test_a_message_that_cannot_be_read_costs_no_other(archive: Archive, way: str) -> None:
    readable = [{"attachments": [file(920 + number, f"{number}.png")]} for number in range(len(UNREADABLE) + 1)]
    cases = [each for pair in zip(readable, UNREADABLE, strict=False) for each in pair] + readable[-1:]
    async with archive.run():
        gone = await archive.discord.post("gone.png", channel=archive.discord.lounge)
    await archive.discord.simulator.delete(gone)
    messages = await post_cases(archive, cases, way)
    assert [await archive.list_shown(each) for each in messages[::2]] == [[f"{number}.png"] for number in range(len(readable))]
    assert {message_id for _, message_id in archive.unreadable.kept} == {str(message.id) for message in messages[1::2]}
    async with archive.run():
        await eventually(lambda: str(gone.id) in {each.target for each in archive.list_requests()})


async def test_what_is_not_shown_for_a_week_is_erased_and_comes_back_as_an_image_of_its_own(archive: Archive) -> None:
    discord, shown = archive.discord, {"embeds": [link("a.png"), link("b.png")]}
    async with archive.run():
        message = await discord.simulator.post_payload(discord.gallery, shown, by=discord.steve)
        other = await discord.simulator.post_payload(discord.gallery, {"embeds": [link("c.png")]}, by=discord.steve)
        for each in (message, other):
            await discord.simulator.edit_payload(each, {"embeds": [], "flags": 4})
    await discord.simulator.edit_payload(other, {"embeds": [link("c.png")]})
    archive.now += timedelta(days=6, hours=23)
    async with archive.run():
        await archive.settle()
    assert archive.list_requests() == []
    archive.now += timedelta(hours=2)
    async with archive.run():
        await eventually(lambda: len(archive.list_requests()) == 2)
        await archive.settle()
        assert [(each.scope, each.expired) for each in archive.list_requests()] == [("image", True)] * 2
        assert (await archive.list_shown(message), await archive.list_shown(other)) == ([], ["c.png"])
        await discord.simulator.edit_payload(message, shown)
    assert await archive.list_shown(message) == ["a.png", "b.png"]


NAMES = ("a.png", "b.png")


@dataclass
class Model:
    """A message by Discord's documentation: its kept files by id, the links that are unfolded, and what its components show."""

    by_bot: bool
    files: dict[int, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    gallery: tuple[str, ...] = ()
    shown_file: int | None = None
    suppressed: bool = False
    deleted: bool = False

    def build_payload(self) -> Json:
        embeds = [link(name) for name in self.links]
        if self.shown_file is not None:
            embeds.append({"type": "rich", "image": media(f"{CDN}/{self.shown_file}/f{self.shown_file}.png?ex=7&is=7&hm=7&")})
        return {
            "attachments": [file(number, name) for number, name in self.files.items()],
            "embeds": [] if self.suppressed else embeds,
            "components": [gallery(*(f"https://example.org/{name}" for name in self.gallery))] if self.gallery else [],
            "flags": 4 if self.suppressed else 0,
            "edited_timestamp": "2026-01-01T00:00:00+00:00",
        }

    @property
    def shown(self) -> list[str]:
        if self.deleted:
            return []
        embedded = {*self.links} | ({f"f{self.shown_file}.png"} if self.shown_file is not None else set())
        return sorted({*self.files.values(), *self.gallery} | (set() if self.suppressed else embedded))


edits = st.fixed_dictionaries(
    {
        "message": st.integers(0, 2),
        "new_file": st.booleans(),
        "drop": st.booleans(),
        "links": st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
        "gallery": st.lists(st.sampled_from(NAMES), unique=True, max_size=1).map(tuple),
        "show_file": st.booleans(),
        "suppressed": st.booleans(),
    }
)
steps = st.one_of(*[edits] * 12, *[st.just("away or back")] * 4, st.tuples(st.just("delete"), st.integers(0, 2)))
"""Mostly edits: a message that is deleted early shows nothing."""


async def check_script(script: Sequence[Any]) -> None:
    """Play edits, deletions and absences of the bot on three messages, and compare the archive with the model."""
    async with simulated_discord() as discord:
        archive, simulator = Archive(discord), discord.simulator
        bot = simulator.add_member(discord.guild, "Bot")
        bot.user.bot = True
        models = [Model(by_bot=False), Model(by_bot=True), Model(by_bot=False)]
        away = not script or script[0] == "away or back"
        numbers = iter(range(1000, 2000))
        async with archive.run():
            messages = [
                await simulator.post_payload(discord.gallery, model.build_payload(), by=bot if model.by_bot else discord.steve)
                for model in models
            ]
        for absent in split_script(script):
            if away:
                for step in absent:
                    await play_step(step, discord, models, messages, numbers)
            else:
                async with archive.run():
                    for step in absent:
                        await play_step(step, discord, models, messages, numbers)
            away = not away
        await archive.rescan()
        assert [await archive.list_shown(message) for message in messages] == [model.shown for model in models]


def split_script(script: Sequence[Any]) -> list[list[Any]]:
    parts: list[list[Any]] = [[]]
    for step in script:
        if step == "away or back":
            parts.append([])
        else:
            parts[-1].append(step)
    return [part for part in parts if part]


async def play_step(step: Any, discord: Discord, models: Sequence[Model], messages: Sequence[Message], numbers: Any) -> None:
    if isinstance(step, tuple):
        if not models[step[1]].deleted:
            models[step[1]].deleted = True
            await discord.simulator.delete(messages[step[1]])
        return
    model, message = models[step["message"]], messages[step["message"]]
    if model.deleted:
        return
    if step["drop"] and model.files:
        dropped = next(iter(model.files))
        del model.files[dropped]
        model.shown_file = dropped if model.by_bot and step["show_file"] else None
    elif step["show_file"] and model.by_bot and model.files:
        model.shown_file = next(iter(model.files))
    if step["new_file"] and len(model.files) < 3:
        number = next(numbers)
        model.files[number] = f"f{number}.png"
    model.links, model.gallery, model.suppressed = step["links"], step["gallery"], step["suppressed"]
    await discord.simulator.edit_payload(message, model.build_payload())


@seed(15)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(st.lists(steps, min_size=10, max_size=20))
async def test_after_any_edits_the_archive_is_what_the_messages_show(script: list[Any]) -> None:
    await check_script(script)


@pytest.mark.slow
@seed(15)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(st.lists(steps, min_size=10, max_size=40))
async def test_after_many_edits_the_archive_is_what_the_messages_show(script: list[Any]) -> None:
    await check_script(script)
