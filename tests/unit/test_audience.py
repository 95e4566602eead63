"""Who may read what, in a guild as disnake keeps it. What an asker may not read is never listed."""

from typing import Any

import disnake
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.discord.ask.audience import (
    MAX_PRIVATE_THREADS,
    READ_PERMISSIONS,
    asker_may_read,
    is_age_restricted,
    list_readable_channels,
)
from tests.support.payloads import (
    CATEGORY,
    EVERYONE,
    FORUM,
    GUILD_PAYLOAD,
    HISTORY,
    MEMBER,
    OPEN,
    OWNER,
    READERS,
    SECRET,
    STAFF,
    STRANGER,
    VIEW,
    Json,
    channel,
    member_payload,
    role,
    thread,
    user,
)

VOICE, QUIET, ADULT, LOUNGE = 206, 207, 208, 209
MANAGERS = 111
CONNECT = 1 << 20
PUBLIC, PUBLIC_IN_SECRET, PRIVATE, INVITED, POST, PRIVATE_IN_SECRET, ADULTS = 401, 402, 403, 404, 405, 406, 407
BASE = {OPEN, FORUM, VOICE, LOUNGE}


def state_of_client() -> Any:
    state: Any = disnake.Client(intents=disnake.Intents(guilds=True))._connection
    bot: Any = user(1, username="MapSeek", bot=True)
    state.user = disnake.ClientUser(state=state, data=bot)
    return state


class Discord:
    """Discord's list of who is in which private thread; a thread without members cannot be asked about."""

    def __init__(self) -> None:
        self.members: dict[int, set[int]] = {PRIVATE: set(), INVITED: {MEMBER}, PRIVATE_IN_SECRET: {MEMBER, STRANGER}}
        self.asked: list[tuple[int, int]] = []

    async def get_thread_member(self, thread_id: int, user_id: int) -> Json:
        self.asked.append((thread_id, user_id))
        members = self.members.get(thread_id)
        reply: Any = type("Response", (), {"status": 404 if members is not None else 500, "reason": "", "headers": {}})
        if members is None:
            raise disnake.HTTPException(reply, "broken")
        if user_id not in members:
            raise disnake.NotFound(reply, {"code": 10007, "message": "Unknown Member"})
        return {"id": str(thread_id), "user_id": str(user_id), "join_timestamp": "2024-03-01T00:00:00+00:00", "flags": 0}


@pytest.fixture
def server() -> Discord:
    return Discord()


@pytest.fixture
async def guild(server: Discord) -> disnake.Guild:
    state = state_of_client()
    state.http.get_thread_member = server.get_thread_member
    more = [
        channel(VOICE, kind=2),
        channel(QUIET, kind=2, deny=CONNECT, allow=CONNECT),
        channel(ADULT) | {"nsfw": True},
        channel(LOUNGE),
    ]
    threads = [thread(PRIVATE_IN_SECRET, SECRET, kind=12), thread(ADULTS, ADULT)]
    roles = [role(EVERYONE, VIEW | HISTORY | CONNECT), *GUILD_PAYLOAD["roles"][1:]]
    payload = GUILD_PAYLOAD | {
        "roles": roles,
        "channels": GUILD_PAYLOAD["channels"] + more,
        "threads": GUILD_PAYLOAD["threads"] + threads,
    }
    guild: disnake.Guild = state._add_guild_from_data(payload)
    return guild


def member(guild: disnake.Guild, *roles: int, user_id: int = MEMBER) -> disnake.Member:
    payload: Any = member_payload(*roles, user_id=user_id)
    return disnake.Member(data=payload, guild=guild, state=guild._state)


async def readable(guild: disnake.Guild, asker: disnake.Member, place: int = LOUNGE, *, seen_by_all: bool = False) -> set[int]:
    found = await list_readable_channels(guild, asker, guild.get_channel_or_thread(place), seen_by_all=seen_by_all)
    assert len(found) == len(set(found))
    return {int(each) for each in found}


@pytest.mark.parametrize(
    ("roles", "user_id", "expected"),
    [
        ((), MEMBER, BASE | {INVITED}),
        ((READERS,), MEMBER, BASE | {SECRET, QUIET, INVITED, PRIVATE_IN_SECRET}),
        ((MANAGERS,), STRANGER, BASE | {PRIVATE, INVITED}),
        ((), STRANGER, BASE),
        ((), OWNER, BASE | {SECRET, STAFF, QUIET, PRIVATE, INVITED, PRIVATE_IN_SECRET}),
    ],
)
async def test_which_channels_an_asker_may_read(
    guild: disnake.Guild, roles: tuple[int, ...], user_id: int, expected: set[int]
) -> None:
    """A category is no channel; a thread is read by the readers of its parent, or by its own members."""
    assert await readable(guild, member(guild, *roles, user_id=user_id)) == expected


@pytest.mark.parametrize("place", [ADULT, ADULTS])
async def test_adults_only_shows_there_alone(guild: disnake.Guild, place: int) -> None:
    assert await readable(guild, member(guild), place) == BASE | {ADULT, INVITED}
    assert is_age_restricted(guild.get_channel_or_thread(place))
    assert not is_age_restricted(guild.get_channel(LOUNGE))
    assert not is_age_restricted(None)


async def test_what_an_interaction_tells_of_a_channel_is_not_believed(guild: disnake.Guild) -> None:
    """It bears the id of a channel that is known, and says that it is for adults."""
    data: Any = channel(LOUNGE) | {"nsfw": True}
    claimed = disnake.TextChannel(state=guild._state, guild=guild, data=data)
    assert ADULT not in map(int, await list_readable_channels(guild, member(guild), claimed))


async def test_a_private_thread_that_nobody_can_say_anything_about_is_left_out(guild: disnake.Guild, server: Discord) -> None:
    del server.members[INVITED]
    assert await readable(guild, member(guild)) == BASE


async def test_who_is_in_a_thread_is_never_taken_from_memory(guild: disnake.Guild, server: Discord) -> None:
    """Discord does not tell a bot without the members intent who leaves a thread."""
    known: Any = {"id": str(INVITED), "user_id": str(MEMBER), "join_timestamp": "2024-03-01T00:00:00+00:00", "flags": 0}
    cached: Any = guild.get_thread(INVITED)
    cached._add_member(disnake.ThreadMember(cached, known))
    server.members[INVITED] = set()
    assert await readable(guild, member(guild)) == BASE


async def test_only_so_many_private_threads_are_asked_about(guild: disnake.Guild, server: Discord) -> None:
    for number in range(1000, 1000 + 2 * MAX_PRIVATE_THREADS):
        data: Any = thread(number, OPEN, kind=12)
        guild._add_thread(disnake.Thread(guild=guild, state=guild._state, data=data))
        server.members[number] = {MEMBER}
    found = await readable(guild, member(guild))
    assert len(server.asked) == MAX_PRIVATE_THREADS
    assert max(found) == 999 + 2 * MAX_PRIVATE_THREADS


async def test_who_may_not_see_the_parent_is_not_asked_about(guild: disnake.Guild, server: Discord) -> None:
    await readable(guild, member(guild))
    assert PRIVATE_IN_SECRET not in {asked for asked, _ in server.asked}


@pytest.mark.parametrize(
    ("target", "roles", "place", "expected"),
    [
        (OPEN, (), LOUNGE, True),
        (SECRET, (), LOUNGE, False),
        (SECRET, (READERS,), LOUNGE, True),
        (STAFF, (), LOUNGE, False),
        (QUIET, (), LOUNGE, False),
        (ADULT, (), LOUNGE, False),
        (ADULT, (), ADULTS, True),
        (CATEGORY, (), LOUNGE, False),
        (PUBLIC, (), LOUNGE, True),
        (POST, (), LOUNGE, True),
        (PUBLIC_IN_SECRET, (), LOUNGE, False),
        (PRIVATE, (), LOUNGE, False),
        (PRIVATE, (MANAGERS,), LOUNGE, True),
        (INVITED, (), LOUNGE, True),
        (PRIVATE_IN_SECRET, (), LOUNGE, False),
        (PRIVATE_IN_SECRET, (READERS,), LOUNGE, True),
        (ADULTS, (), LOUNGE, False),
    ],
)
async def test_who_may_read_a_channel_or_thread(
    guild: disnake.Guild, target: int, roles: tuple[int, ...], place: int, expected: bool
) -> None:
    asked, here = guild.get_channel_or_thread(target), guild.get_channel_or_thread(place)
    assert await asker_may_read(asked, member(guild, *roles), here) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (LOUNGE, {OPEN, FORUM, VOICE, LOUNGE}),
        (SECRET, {OPEN, FORUM, VOICE, LOUNGE, SECRET, QUIET}),
        (PUBLIC_IN_SECRET, {OPEN, FORUM, VOICE, LOUNGE, SECRET, QUIET}),
        (QUIET, {OPEN, FORUM, VOICE, LOUNGE, SECRET, QUIET}),
        (INVITED, {OPEN, FORUM, VOICE, LOUNGE, INVITED}),
    ],
)
async def test_an_answer_for_all_shows_what_all_may_read(guild: disnake.Guild, place: int, expected: set[int]) -> None:
    """Even the owner's: what they alone may read is not for everybody's eyes."""
    assert await readable(guild, member(guild, user_id=OWNER), place, seen_by_all=True) == expected


async def test_an_answer_for_all_in_an_unknown_place_shows_nothing(guild: disnake.Guild) -> None:
    data: Any = channel(999)
    unknown = disnake.TextChannel(state=guild._state, guild=guild, data=data)
    assert await list_readable_channels(guild, member(guild), unknown, seen_by_all=True) == ()


BITS = st.sampled_from([0, VIEW, HISTORY, CONNECT, VIEW | HISTORY, VIEW | HISTORY | CONNECT])
TARGETS = (EVERYONE, READERS, MANAGERS, MEMBER)
OVERWRITES = st.lists(st.tuples(st.sampled_from(TARGETS), BITS, BITS), max_size=4, unique_by=lambda each: each[0])


@given(BITS, BITS, st.tuples(OVERWRITES, OVERWRITES, OVERWRITES), st.lists(st.sampled_from([0, 2]), min_size=3, max_size=3))
async def test_whoever_sees_an_answer_for_all_may_see_what_it_shows(
    everyone: int, readers: int, overwrites: tuple[list[Any], ...], kinds: list[int]
) -> None:
    """Whatever the roles and overwrites of those who see the place, whether or not they may read back in it."""
    channels = [
        channel(500 + number, kind=kind)
        | {
            "permission_overwrites": [
                {"id": str(target), "type": int(target == MEMBER), "allow": str(allow), "deny": str(deny & ~allow)}
                for target, allow, deny in rules
            ]
        }
        for number, (kind, rules) in enumerate(zip(kinds, overwrites, strict=True))
    ]
    roles = [role(EVERYONE, everyone), role(READERS, readers), role(MANAGERS, 0)]
    guild = state_of_client()._add_guild_from_data(GUILD_PAYLOAD | {"roles": roles, "channels": channels, "threads": []})
    place = guild.get_channel(500)
    shown = await list_readable_channels(guild, member(guild, user_id=OWNER), place, seen_by_all=True)
    for given_roles in ((), (READERS,), (MANAGERS,), (READERS, MANAGERS)):
        for user_id in (MEMBER, STRANGER):
            witness = member(guild, *given_roles, user_id=user_id)
            seen = place.permissions_for(witness)
            opened = seen.view_channel and (seen.connect or place.type is disnake.ChannelType.text)
            if opened:
                assert all(guild.get_channel(int(each)).permissions_for(witness) >= READ_PERMISSIONS for each in shown)
