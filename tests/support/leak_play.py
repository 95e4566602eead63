"""Plays a plan of the leak suite on a complete MapSeek, and checks everything that anybody sees meanwhile."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from contracts.errors import MapSeekError
from infra.nats.projections import read_generations
from infra.sandbox.simulator import Channel, Guild, Interaction, Member, Message, Overwrite, Permission, Role, Simulator
from infra.sandbox.simulator.model import (
    ALL_PERMISSIONS,
    DEFAULT_PERMISSIONS,
    EPHEMERAL,
    GUILD_ANNOUNCEMENT,
    GUILD_FORUM,
    GUILD_MEDIA,
    GUILD_STAGE_VOICE,
    GUILD_TEXT,
    GUILD_VOICE,
    POST_CHANNELS,
    THREAD_PARENTS,
    snowflake_time,
)
from pipeline.engine.consumers import plan_consumers
from pipeline.engine.registry import STAGES
from tests.support.bench_stage import count_unsettled
from tests.support.leak_plans import GRANTED, VIEW_AND_HISTORY, Plan, RoomKind, Rule, Step
from tests.support.leaks import PostedPicture, author_name, capture_message, file_name, find_leaks, picture, sees
from tests.support.waiting import eventually
from tests.support.world import World

LONG_AGO = datetime(2024, 3, 1, tzinfo=UTC)
ROOM_KINDS: dict[RoomKind, int] = {
    "text": GUILD_TEXT,
    "voice": GUILD_VOICE,
    "stage": GUILD_STAGE_VOICE,
    "announcement": GUILD_ANNOUNCEMENT,
    "forum": GUILD_FORUM,
    "media": GUILD_MEDIA,
}
GENEROUS_SETTINGS = {"per-member": 600, "per-server": 6000, "at-once": 20, "repost-notice": "reply"}


@dataclass
class Ledger:
    """Everything posted and answered so far, in every guild.

    `judged` counts the checked views of messages, and `required` the posts that had to be found.
    """

    world: World
    posts: list[PostedPicture] = field(default_factory=list)
    answers: list[Interaction] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)
    judged: int = 0
    required: int = 0


@dataclass
class Wish:
    """An alert that a member set by a press of a button.

    `before` is the number of direct messages that the member had then. `piece` is None if the picture is not known.
    """

    member: Member
    piece: int | None
    adults: bool
    before: int
    pressed: Interaction

    @property
    def known(self) -> set[str]:
        """What the member knows of it and `/alerts` shows again: the channel, and the time of the press."""
        moment = snowflake_time(self.pressed.id)
        return {str(self.pressed.channel.id), f"<t:{int(moment.timestamp())}:"}


@dataclass
class LeakGuild:
    """A guild with its members, and what they see. `looked` maps each checked message to the time of its last edit."""

    ledger: Ledger
    guild: Guild
    roles: list[Role]
    people: list[Member]
    common: bool
    silent: frozenset[int]
    rooms: list[Channel] = field(default_factory=list)
    threads: list[Channel] = field(default_factory=list)
    answers: list[Interaction] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    looked: dict[int, datetime | None] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.ledger.world

    @property
    def discord(self) -> Simulator:
        return self.ledger.world.discord.simulator

    @property
    def spots(self) -> list[Channel]:
        """The channels and threads that can contain messages now."""
        there = {**self.guild.channels, **self.guild.threads}
        return [each for each in (*self.rooms, *self.threads) if each.id in there and each.kind not in POST_CHANNELS]

    @property
    def posts(self) -> list[PostedPicture]:
        return [post for post in self.ledger.posts if post.guild is self.guild]

    async def post(self, spot: Channel, pieces: Iterable[int], at: datetime | None) -> None:
        """Post pictures by a new member."""
        simulator, numbers = self.world.discord.simulator, [(next(self.ledger.numbers), piece) for piece in pieces]
        author = simulator.add_member(self.guild, author_name(numbers[0][0]))
        files = [(file_name(number), picture(number, piece)) for number, piece in numbers]
        message = await simulator.post(spot, author, files=files, at=at)
        self.ledger.posts += [
            PostedPicture(number, piece, message, spot, author, position) for position, (number, piece) in enumerate(numbers)
        ]

    async def settle(self) -> None:
        """Wait until the archive equals Discord, and no stage has work left, except the erasure of files, which is delayed."""
        catalogue = await self.world.process.container.catalogue()
        ids = {post.image_id: post.there for post in self.posts}

        async def archived() -> bool:
            known = await catalogue.entries(ids)
            return {each for each, there in ids.items() if there} == {
                each for each, entry in known.items() if "metadata" in entry.document
            }

        async def idle() -> bool:
            client = self.world.log.client
            for durable in plan_consumers([stage for stage in STAGES if stage.name != "erase"], await read_generations(client)):
                if durable.family != "search" and await count_unsettled(client, durable.stream, durable.name):
                    return False
            return True

        await eventually(archived)
        await eventually(idle)

    def look(self) -> None:
        """Check every message that is new or changed since the last call."""
        simulator = self.world.discord.simulator
        bot = simulator.me(self.guild)
        for channel in self.spots:
            eyes = [each for each in self.guild.members.values() if each is not bot and sees(channel, each)]
            for message in channel.messages.values():
                if message.author is bot.user:
                    self._check(message, eyes, is_adult(channel))
        for interaction in self.answers:
            for message in (interaction.original, *interaction.followups.values()):
                if message is not None and message.flags & EPHEMERAL and interaction.member is not None:
                    known = {text for each in self.wishes if each.member is interaction.member for text in each.known}
                    self._check(message, [interaction.member], is_adult(interaction.channel), known)
        for member in self.people:
            for message in simulator.direct_messages(member):
                self._check(message, [member], any(wish.adults for wish in self.wishes if wish.member is member))

    def _check(self, message: Message, eyes: list[Member], adults: bool, known: Collection[str] = ()) -> None:
        """Check what a message shows to those who see it. They know the texts `known` already."""
        if message.id in self.looked and self.looked[message.id] == message.edited_at:
            return
        self.looked[message.id] = message.edited_at
        shown = capture_message(message, eyes)
        leaks = find_leaks(shown, self.ledger.posts, adults, known)
        assert leaks == [], f"in #{shown.place.name}: {leaks}\n{shown.text}"
        self.ledger.judged += len(eyes)


def is_adult(place: Channel) -> bool:
    """Whether a channel, or the parent of a thread, is age-restricted."""
    return (place.parent or place).nsfw


def build_overwrites(company: LeakGuild, rules: Iterable[Rule]) -> list[Overwrite]:
    """Build overwrites for the roles and members of the guild."""
    targets = [company.guild.everyone, *company.roles, *company.people]
    return [Overwrite(targets[rule.target], rule.allow, rule.deny) for rule in rules]


async def found_guild(ledger: Ledger, plan: Plan, elsewhere: Guild) -> LeakGuild:
    """Create the guild of a plan with its posts. Its first asker is also in the guild `elsewhere`."""
    simulator = ledger.world.discord.simulator
    guild = simulator.add_guild(f"Guild {next(ledger.numbers)}", everyone=DEFAULT_PERMISSIONS & ~VIEW_AND_HISTORY | plan.everyone)
    await simulator.set_roles(simulator.me(guild), [simulator.add_role(guild, "MapSeek", ALL_PERMISSIONS)])
    roles = [simulator.add_role(guild, f"role {number}", granted) for number, granted in enumerate(plan.roles)]
    people = [
        simulator.add_member(guild, f"Asker{number}", [roles[each] for each in theirs])
        for number, theirs in enumerate(plan.members)
    ]
    simulator.add_member(elsewhere, "Asker0", same_as=people[0])
    for each in plan.silent:
        simulator.close_dms(people[each])
    silent = frozenset(people[each].id for each in plan.silent)
    company = LeakGuild(ledger, guild, roles, [*people, guild.members[guild.owner_id]], plan.common, silent)
    for number, room in enumerate(plan.rooms):
        rules = build_overwrites(company, room.rules)
        company.rooms.append(simulator.add_channel(guild, f"room-{number}", ROOM_KINDS[room.kind], rules, nsfw=room.adults))
    for number, thread in enumerate(plan.threads):
        room = company.rooms[thread.room % len(company.rooms)]
        parent = room if room.kind in THREAD_PARENTS else company.rooms[0]
        opened = await simulator.add_thread(parent, f"thread-{number}", private=thread.private and parent.kind == GUILD_TEXT)
        company.threads.append(opened)
        for member in sorted(thread.members):
            with suppress(MapSeekError):
                await simulator.join_thread(opened, people[member])
    options = GENEROUS_SETTINGS | {"private-answers": not plan.common}
    await simulator.answer(await simulator.slash(company.rooms[0], company.people[-1], "archive settings", options=options))
    for post in plan.posts:
        pieces = [post.piece, post.piece + 1][: 1 + post.twice]
        at = LONG_AGO + timedelta(hours=post.age, seconds=next(ledger.numbers))
        await company.post(company.spots[post.spot % len(company.spots)], pieces, at)
    for thread, opened in zip(plan.threads, company.threads, strict=True):
        if thread.archived:
            await simulator.archive_thread(opened)
    await company.settle()
    return company


def acting_member(company: LeakGuild, step: Step) -> Member:
    """Return the member who does a step."""
    return company.people[step.who]


async def _set_rules(company: LeakGuild, step: Step) -> None:
    await company.discord.set_overwrites(_room(company, step), build_overwrites(company, step.rules))


async def _hide(company: LeakGuild, step: Step) -> None:
    room, everyone = _room(company, step), company.guild.everyone
    others = [each for each in room.overwrites if each.target is not everyone]
    await company.discord.set_overwrites(room, [Overwrite(everyone, deny=Permission.VIEW_CHANNEL), *others])


async def _give_roles(company: LeakGuild, step: Step) -> None:
    roles = [role for number, role in enumerate(company.roles) if step.which >> number & 1]
    await company.discord.set_roles(acting_member(company, step), roles)


async def _grant(company: LeakGuild, step: Step) -> None:
    await company.discord.edit_role(company.roles[step.where % len(company.roles)], GRANTED[step.which % len(GRANTED)])


async def _restrict(company: LeakGuild, step: Step) -> None:
    await company.discord.set_age_restricted(_room(company, step), step.flag)


async def _kick(company: LeakGuild, step: Step) -> None:
    for thread in _threads(company, step):
        await company.discord.leave_thread(thread, acting_member(company, step))


async def _join(company: LeakGuild, step: Step) -> None:
    for thread in _threads(company, step):
        await company.discord.join_thread(thread, acting_member(company, step))


async def _archive(company: LeakGuild, step: Step) -> None:
    for thread in _threads(company, step):
        await company.discord.archive_thread(thread)


async def _delete(company: LeakGuild, step: Step) -> None:
    """Delete a channel or thread, but not the first channel, so that one is always left."""
    there = [*company.rooms[1:], *(each for each in company.threads if each in company.spots)]
    chosen = there[step.where % len(there)]
    if chosen.id in {**company.guild.channels, **company.guild.threads}:
        await company.discord.delete_channel(chosen)


async def _leave(company: LeakGuild, step: Step) -> None:
    who = acting_member(company, step)
    if who.id != company.guild.owner_id and who.id in company.guild.members:
        await company.discord.remove_member(who)


def _room(company: LeakGuild, step: Step) -> Channel:
    there = [each for each in company.rooms if each.id in company.guild.channels]
    return there[step.where % len(there)]


def _threads(company: LeakGuild, step: Step) -> list[Channel]:
    """Return the thread of a step, if there is one."""
    there = [each for each in company.threads if each.id in company.guild.threads]
    return there[step.where % len(there) :][:1] if there else []


CHANGE_STEPS: dict[str, Callable[[LeakGuild, Step], Awaitable[object]]] = {
    "rules": _set_rules,
    "hide": _hide,
    "roles": _give_roles,
    "grant": _grant,
    "kick": _kick,
    "join": _join,
    "archive": _archive,
    "adults": _restrict,
    "delete": _delete,
    "leave": _leave,
}
