"""/forget and /privacy, with the real client against the simulated Discord."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from contracts.events import ImagePosted, RemovalRequested
from contracts.state import ForgetRequest, read_document
from contracts.subjects import forgotten_key
from infra.discord.wording import localize
from infra.sandbox.simulator import Interaction, Member, Message, Overwrite, Permission
from tests.support.fakes import MemoryJournal, MemoryState
from tests.support.gateway import Discord, run_listening_gateway, simulated_discord
from tests.support.waiting import eventually


@dataclass
class Place:
    discord: Discord
    journal: MemoryJournal
    state: MemoryState

    async def post_archived(self, *names: str, **where: Any) -> Message:
        message = await self.discord.post(*names, **where)
        await eventually(lambda: len([post for post in self.posts if post.message_id == str(message.id)]) == len(names))
        return message

    async def use(self, command: str, member: Member | None = None, locale: str = "en-US", **options: Any) -> Interaction:
        return await self.discord.simulator.slash(
            self.discord.lounge, member or self.discord.steve, command, options=options, locale=locale
        )

    async def read_answer(self, interaction: Interaction) -> str:
        answer = await self.discord.simulator.answer(interaction)
        assert answer.ephemeral
        return answer.content

    async def press(self, interaction: Interaction, label: str) -> Interaction:
        answer = await self.discord.simulator.answer(interaction)
        return await self.discord.simulator.press(answer, self.discord.steve, label=label)

    @property
    def posts(self) -> list[ImagePosted]:
        return [fact for fact in self.journal.facts if isinstance(fact, ImagePosted)]

    @property
    def removals(self) -> list[RemovalRequested]:
        return [fact for fact in self.journal.facts if isinstance(fact, RemovalRequested)]

    @property
    def guild_id(self) -> str:
        return str(self.discord.guild.id)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with simulated_discord() as discord:
        journal, state = MemoryJournal(), MemoryState()
        async with run_listening_gateway(discord, journal, state=state):
            await discord.simulator.wait_for_command("forget")
            yield Place(discord, journal, state)


async def test_forget_me_counts_posts_asks_and_forgets(place: Place) -> None:
    await place.post_archived("a.png", "b.png")
    await place.post_archived("c.png", author=place.discord.simulator.add_member(place.discord.guild, "Alex"))
    asked = await place.use("forget me")
    assert "**2 pictures**" in await place.read_answer(asked)
    assert place.removals == []
    pressed = await place.press(asked, localize("en", "privacy-button-yes"))
    [removal] = await eventually(lambda: place.removals)
    steve = str(place.discord.steve.id)
    assert (removal.scope, removal.target, removal.cause, removal.removal_id) == ("author", steve, "forgotten", str(pressed.id))
    assert await read_document(place.state, forgotten_key(place.guild_id, steve), ForgetRequest) == ForgetRequest(
        until=removal.requested_at
    )
    answer = await eventually(lambda: _read_changed_message(place, asked, "privacy-me-forgotten"))
    assert answer.buttons == {}


async def test_pressing_no_changes_nothing(place: Place) -> None:
    await place.post_archived("a.png")
    asked = await place.use("forget me")
    assert "**1 picture**" in await place.read_answer(asked)
    await place.press(asked, localize("en", "privacy-button-no"))
    assert (await eventually(lambda: _read_changed_message(place, asked, "privacy-me-kept"))).buttons == {}
    assert (place.removals, place.state.entries.get(forgotten_key(place.guild_id, str(place.discord.steve.id)))) == ([], None)


async def test_a_member_without_posts_gets_an_answer_in_their_language(place: Place) -> None:
    asked = await place.use("forget me", locale="de")
    assert "kein Bild" in await place.read_answer(asked)
    assert localize("de", "privacy-button-yes") in [
        button.label for button in (await place.discord.simulator.answer(asked)).buttons.values()
    ]


async def test_a_moderator_forgets_a_message_by_link_or_id_once(place: Place) -> None:
    message = await place.post_archived("a.png", "b.png")
    mods = place.discord.simulator.add_role(place.discord.guild, "mods", Permission.MANAGE_MESSAGES)
    alex = place.discord.simulator.add_member(place.discord.guild, "Alex", [mods])
    for name in (message.jump_url, str(message.id)):
        assert "2 pictures" in await place.read_answer(await place.use("forget message", alex, message=name))
    [removal] = await eventually(lambda: place.removals)
    assert (removal.scope, removal.target, removal.removal_id) == ("message", str(message.id), f"forgotten-{message.id}")


async def test_a_member_who_is_no_moderator_gets_no_information_and_removes_nothing(place: Place) -> None:
    message = await place.post_archived("a.png")
    mods = place.discord.simulator.add_role(place.discord.guild, "mods", Permission.MANAGE_MESSAGES)
    alex = place.discord.simulator.add_member(place.discord.guild, "Alex")
    robin = place.discord.simulator.add_member(place.discord.guild, "Robin", [mods])
    await place.discord.simulator.set_overwrites(place.discord.gallery, [Overwrite(mods, deny=Permission.MANAGE_MESSAGES)])
    none = localize("en", "privacy-message-none")
    for member in (alex, robin):
        assert await place.read_answer(await place.use("forget message", member, message=str(message.id))) == none
    assert await place.read_answer(await place.use("forget message", robin, message="1234567890123456789")) == none
    assert await place.read_answer(await place.use("forget message", robin, message="dragon")) == localize(
        "en", "privacy-message-unknown"
    )
    assert place.removals == []


async def test_an_author_may_forget_an_own_message(place: Place) -> None:
    message = await place.post_archived("a.png")
    assert "The picture" in await place.read_answer(await place.use("forget message", message=message.jump_url))
    await eventually(lambda: place.removals)


@pytest.mark.parametrize("locale", ["en-US", "de"])
async def test_privacy_lists_what_is_stored(place: Place, locale: str) -> None:
    answer = await place.discord.simulator.answer(await place.use("privacy", locale=locale))
    [embed] = answer.embeds
    assert embed["title"] == localize(locale, "privacy-title")
    assert len(embed["fields"]) == 3
    assert answer.ephemeral


async def _read_changed_message(place: Place, asked: Interaction, message: str) -> Any:
    answer = await place.discord.simulator.answer(asked)
    return answer if answer.content == localize("en", message) else None
