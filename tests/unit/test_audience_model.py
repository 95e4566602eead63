"""Random guilds: what an asker may read is compared with Discord's documented rules (tests/support/rules.py)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import disnake
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from infra.discord.ask.audience import asker_may_read, list_readable_channels
from tests.support.payloads import GUILD, GUILD_PAYLOAD, MEMBER, OWNER, STRANGER, Json, channel, member_payload, role, thread, user
from tests.support.rules import (
    ADMINISTRATOR,
    CONNECT,
    HISTORY,
    MANAGE_THREADS,
    VIEW,
    Overrule,
    Person,
    Room,
    Server,
    Spot,
    reads,
    sees,
)

ROLES = (110, 111, 112)
NEWCOMER = 303
ACCOUNTS = (MEMBER, STRANGER, OWNER, NEWCOMER)
TEXT, VOICE, FORUM, PUBLIC_THREAD, PRIVATE_THREAD = 0, 2, 15, 11, 12

PERMISSIONS = st.integers(0, 7).map(lambda bits: (bits & 1) * VIEW | (bits >> 1 & 1) * HISTORY | (bits >> 2) * CONNECT)
EVERYONE_PERMISSIONS = st.one_of(st.just(VIEW | HISTORY | CONNECT), PERMISSIONS)
ROLE_PERMISSIONS = st.one_of(st.just(0), PERMISSIONS, st.sampled_from([ADMINISTRATOR, MANAGE_THREADS]))
TARGETS = st.sampled_from([GUILD, *ROLES, MEMBER, STRANGER])
OVERRULES = st.lists(
    st.builds(lambda target, allow, deny: Overrule(target, allow, deny & ~allow), TARGETS, PERMISSIONS, PERMISSIONS),
    max_size=4,
    unique_by=lambda each: each.target,
).map(tuple)
MEMBERS = st.none() | st.frozensets(st.sampled_from([MEMBER, STRANGER]))


@dataclass(frozen=True)
class Plan:
    """A random guild. `kinds` are Discord's channel types, by id."""

    server: Server
    rooms: tuple[Room, ...]
    threads: tuple[Spot, ...]
    kinds: dict[int, int]

    @property
    def spots(self) -> tuple[Spot, ...]:
        return (*(Spot(room.id, room) for room in self.rooms), *self.threads)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    grants = {GUILD: draw(EVERYONE_PERMISSIONS), **{each: draw(ROLE_PERMISSIONS) for each in ROLES}}
    kinds = {500 + number: draw(st.sampled_from([TEXT, TEXT, VOICE, FORUM])) for number in range(draw(st.integers(2, 4)))}
    rooms = tuple(Room(each, draw(OVERRULES), draw(st.booleans()), kind == VOICE) for each, kind in kinds.items())
    parents = [room for room in rooms if not room.vocal]
    threads = []
    for number in range(600, 600 + draw(st.integers(0, 4)) if parents else 600):
        parent = draw(st.sampled_from(parents))
        threads.append(Spot(number, parent, draw(MEMBERS) if kinds[parent.id] == TEXT else None))
        kinds[number] = PUBLIC_THREAD if threads[-1].members is None else PRIVATE_THREAD
    return Plan(Server(GUILD, OWNER, grants), rooms, tuple(threads), kinds)


def build_guild(plan: Plan) -> disnake.Guild:
    """Return the guild as disnake keeps it. Only the simulated Discord has the members of threads."""
    state: Any = disnake.Client(intents=disnake.Intents(guilds=True))._connection
    bot: Any = user(1, username="MapSeek", bot=True)
    state.user = disnake.ClientUser(state=state, data=bot)
    members = {spot.id: spot.members or frozenset() for spot in plan.threads}

    async def get_thread_member(thread_id: int, user_id: int) -> Json:
        if user_id in members[thread_id]:
            return {"id": str(thread_id), "user_id": str(user_id), "join_timestamp": "2024-03-01T00:00:00+00:00", "flags": 0}
        reply: Any = type("Response", (), {"status": 404, "reason": "", "headers": {}})
        raise disnake.NotFound(reply, {"code": 10007, "message": "Unknown Member"})

    state.http.get_thread_member = get_thread_member
    payload = GUILD_PAYLOAD | {
        "roles": [role(each, granted) for each, granted in plan.server.roles.items()],
        "channels": [_build_channel(room, plan.kinds[room.id]) for room in plan.rooms],
        "threads": [thread(each.id, each.room.id, plan.kinds[each.id]) for each in plan.threads],
    }
    guild: disnake.Guild = state._add_guild_from_data(payload)
    return guild


def _build_channel(room: Room, kind: int) -> Json:
    rules = [
        {"id": str(each.target), "type": int(each.target in ACCOUNTS), "allow": str(each.allow), "deny": str(each.deny)}
        for each in room.overrules
    ]
    return channel(room.id, kind, None) | {"permission_overwrites": rules, "nsfw": room.restricted}


def build_member(guild: disnake.Guild, person: Person) -> disnake.Member:
    payload: Any = member_payload(*sorted(person.roles), user_id=person.id)
    return disnake.Member(data=payload, guild=guild, state=guild._state)


def list_people() -> Iterator[Person]:
    """Yield every account with every combination of roles."""
    for account in ACCOUNTS:
        for count in range(len(ROLES) + 1):
            for roles in combinations(ROLES, count):
                yield Person(account, frozenset(roles))


def find_audience_id(spot: Spot) -> str:
    """Return the id that covers a spot in a list of channels: a public thread is covered by its channel."""
    return str(spot.room.id if spot.members is None else spot.id)


def may_be_shown_in(spot: Spot, place: Spot) -> bool:
    return place.room.restricted or not spot.room.restricted


@settings(max_examples=300)
@given(plans(), st.sampled_from(ACCOUNTS), st.frozensets(st.sampled_from(ROLES)), st.data())
async def test_the_list_holds_all_that_an_asker_may_read_and_nothing_else(
    plan: Plan, account: int, roles: frozenset[int], data: st.DataObject
) -> None:
    guild, person, place = build_guild(plan), Person(account, roles), data.draw(st.sampled_from(plan.spots))
    asker, here = build_member(guild, person), guild.get_channel_or_thread(place.id)
    shown = await list_readable_channels(guild, asker, here)
    readable = {spot for spot in plan.spots if may_be_shown_in(spot, place) and reads(plan.server, spot, person)}
    assert set(shown) == {find_audience_id(spot) for spot in readable}
    assert len(shown) == len(set(shown))
    for spot in plan.spots:
        assert await asker_may_read(guild.get_channel_or_thread(spot.id), asker, here) == (spot in readable)


@settings(max_examples=300)
@given(plans(), st.sampled_from(ACCOUNTS), st.frozensets(st.sampled_from(ROLES)), st.data())
async def test_a_public_answer_shows_what_everyone_who_sees_it_may_read(
    plan: Plan, account: int, roles: frozenset[int], data: st.DataObject
) -> None:
    """It shows all of that too: what everyone who sees the channel may read is shown, apart from private threads elsewhere."""
    guild, person, place = build_guild(plan), Person(account, roles), data.draw(st.sampled_from(plan.spots))
    assume(sees(plan.server, place, person))
    shown = await list_readable_channels(
        guild, build_member(guild, person), guild.get_channel_or_thread(place.id), seen_by_all=True
    )
    onlookers = [each for each in list_people() if sees(plan.server, place, each)]
    for spot in plan.spots:
        if find_audience_id(spot) in shown:
            assert may_be_shown_in(spot, place)
            assert all(reads(plan.server, spot, each) for each in onlookers)
    channel_viewers = [each for each in list_people() if sees(plan.server, Spot(place.room.id, place.room), each)]
    for spot in plan.spots:
        if (
            spot.members is None
            and may_be_shown_in(spot, place)
            and all(reads(plan.server, spot, each) for each in channel_viewers)
        ):
            assert find_audience_id(spot) in shown
