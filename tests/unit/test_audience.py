"""Which channels and threads an asker may read, in a guild as disnake keeps it. Nothing else is ever listed."""

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

VOICE, LOCKED_VOICE, ADULT, LOUNGE = 206, 207, 208, 209
MANAGERS = 111
CONNECT = 1 << 20
PUBLIC, PUBLIC_IN_SECRET, PRIVATE, JOINED, POST, PRIVATE_IN_SECRET, IN_ADULT = 401, 402, 403, 404, 405, 406, 407
READABLE_BY_ALL = {OPEN, FORUM, VOICE, LOUNGE}


def create_client_state() -> Any:
    state: Any = disnake.Client(intents=disnake.Intents(guilds=True))._connection
    bot: Any = user(1, username="MapSeek", bot=True)
    state.user = disnake.ClientUser(state=state, data=bot)
    return state


class ThreadMembers:
    """Discord's members of private threads. A request for a thread that is not in `members` fails."""

    def __init__(self) -> None:
        self.members: dict[int, set[int]] = {PRIVATE: set(), JOINED: {MEMBER}, PRIVATE_IN_SECRET: {MEMBER, STRANGER}}
        self.requests: list[tuple[int, int]] = []

    async def get_thread_member(self, thread_id: int, user_id: int) -> Json:
        self.requests.append((thread_id, user_id))
        members = self.members.get(thread_id)
        reply: Any = type("Response", (), {"status": 404 if members is not None else 500, "reason": "", "headers": {}})
        if members is None:
            raise disnake.HTTPException(reply, "broken")
        if user_id not in members:
            raise disnake.NotFound(reply, {"code": 10007, "message": "Unknown Member"})
        return {"id": str(thread_id), "user_id": str(user_id), "join_timestamp": "2024-03-01T00:00:00+00:00", "flags": 0}


@pytest.fixture
def thread_members() -> ThreadMembers:
    return ThreadMembers()


@pytest.fixture
async def guild(thread_members: ThreadMembers) -> disnake.Guild:
    state = create_client_state()
    state.http.get_thread_member = thread_members.get_thread_member
    more = [
        channel(VOICE, kind=2),
        channel(LOCKED_VOICE, kind=2, deny=CONNECT, allow=CONNECT),
        channel(ADULT) | {"nsfw": True},
        channel(LOUNGE),
    ]
    threads = [thread(PRIVATE_IN_SECRET, SECRET, kind=12), thread(IN_ADULT, ADULT)]
    roles = [role(EVERYONE, VIEW | HISTORY | CONNECT), *GUILD_PAYLOAD["roles"][1:]]
    payload = GUILD_PAYLOAD | {
        "roles": roles,
        "channels": GUILD_PAYLOAD["channels"] + more,
        "threads": GUILD_PAYLOAD["threads"] + threads,
    }
    guild: disnake.Guild = state._add_guild_from_data(payload)
    return guild


def build_member(guild: disnake.Guild, *roles: int, user_id: int = MEMBER) -> disnake.Member:
    payload: Any = member_payload(*roles, user_id=user_id)
    return disnake.Member(data=payload, guild=guild, state=guild._state)


async def list_readable(guild: disnake.Guild, asker: disnake.Member, place: int = LOUNGE, *, seen_by_all: bool = False) -> set[int]:
    found = await list_readable_channels(guild, asker, guild.get_channel_or_thread(place), seen_by_all=seen_by_all)
    assert len(found) == len(set(found))
    return {int(each) for each in found}


@pytest.mark.parametrize(
    ("roles", "user_id", "expected"),
    [
        ((), MEMBER, READABLE_BY_ALL | {JOINED}),
        ((READERS,), MEMBER, READABLE_BY_ALL | {SECRET, LOCKED_VOICE, JOINED, PRIVATE_IN_SECRET}),
        ((MANAGERS,), STRANGER, READABLE_BY_ALL | {PRIVATE, JOINED}),
        ((), STRANGER, READABLE_BY_ALL),
        ((), OWNER, READABLE_BY_ALL | {SECRET, STAFF, LOCKED_VOICE, PRIVATE, JOINED, PRIVATE_IN_SECRET}),
    ],
)
async def test_which_channels_an_asker_may_read(
    guild: disnake.Guild, roles: tuple[int, ...], user_id: int, expected: set[int]
) -> None:
    """A category is not listed. A public thread is read by the readers of its parent, a private thread by its own members."""
    assert await list_readable(guild, build_member(guild, *roles, user_id=user_id)) == expected


@pytest.mark.parametrize("place", [ADULT, IN_ADULT])
async def test_age_restricted_channels_are_listed_only_in_an_age_restricted_place(guild: disnake.Guild, place: int) -> None:
    assert await list_readable(guild, build_member(guild), place) == READABLE_BY_ALL | {ADULT, JOINED}
    assert is_age_restricted(guild.get_channel_or_thread(place))
    assert not is_age_restricted(guild.get_channel(LOUNGE))
    assert not is_age_restricted(None)


async def test_the_channel_data_of_an_interaction_is_not_trusted(guild: disnake.Guild) -> None:
    """The data has the id of a known channel, and says that this channel is age-restricted."""
    data: Any = channel(LOUNGE) | {"nsfw": True}
    forged = disnake.TextChannel(state=guild._state, guild=guild, data=data)
    assert ADULT not in map(int, await list_readable_channels(guild, build_member(guild), forged))


async def test_a_private_thread_whose_members_cannot_be_read_is_not_listed(
    guild: disnake.Guild, thread_members: ThreadMembers
) -> None:
    del thread_members.members[JOINED]
    assert await list_readable(guild, build_member(guild)) == READABLE_BY_ALL


async def test_the_members_of_a_private_thread_are_never_taken_from_the_cache(
    guild: disnake.Guild, thread_members: ThreadMembers
) -> None:
    """Discord does not tell a bot without the members intent who leaves a thread."""
    known: Any = {"id": str(JOINED), "user_id": str(MEMBER), "join_timestamp": "2024-03-01T00:00:00+00:00", "flags": 0}
    cached: Any = guild.get_thread(JOINED)
    cached._add_member(disnake.ThreadMember(cached, known))
    thread_members.members[JOINED] = set()
    assert await list_readable(guild, build_member(guild)) == READABLE_BY_ALL


async def test_the_number_of_requests_about_private_threads_is_limited(guild: disnake.Guild, thread_members: ThreadMembers) -> None:
    for number in range(1000, 1000 + 2 * MAX_PRIVATE_THREADS):
        data: Any = thread(number, OPEN, kind=12)
        guild._add_thread(disnake.Thread(guild=guild, state=guild._state, data=data))
        thread_members.members[number] = {MEMBER}
    found = await list_readable(guild, build_member(guild))
    assert len(thread_members.requests) == MAX_PRIVATE_THREADS
    assert max(found) == 999 + 2 * MAX_PRIVATE_THREADS


async def test_discord_is_not_asked_about_a_thread_whose_parent_is_hidden(
    guild: disnake.Guild, thread_members: ThreadMembers
) -> None:
    await list_readable(guild, build_member(guild))
    assert PRIVATE_IN_SECRET not in {thread_id for thread_id, _ in thread_members.requests}


@pytest.mark.parametrize(
    ("target", "roles", "place", "expected"),
    [
        (OPEN, (), LOUNGE, True),
        (SECRET, (), LOUNGE, False),
        (SECRET, (READERS,), LOUNGE, True),
        (STAFF, (), LOUNGE, False),
        (LOCKED_VOICE, (), LOUNGE, False),
        (ADULT, (), LOUNGE, False),
        (ADULT, (), IN_ADULT, True),
        (CATEGORY, (), LOUNGE, False),
        (PUBLIC, (), LOUNGE, True),
        (POST, (), LOUNGE, True),
        (PUBLIC_IN_SECRET, (), LOUNGE, False),
        (PRIVATE, (), LOUNGE, False),
        (PRIVATE, (MANAGERS,), LOUNGE, True),
        (JOINED, (), LOUNGE, True),
        (PRIVATE_IN_SECRET, (), LOUNGE, False),
        (PRIVATE_IN_SECRET, (READERS,), LOUNGE, True),
        (IN_ADULT, (), LOUNGE, False),
    ],
)
async def test_who_may_read_a_channel_or_thread(
    guild: disnake.Guild, target: int, roles: tuple[int, ...], place: int, expected: bool
) -> None:
    channel_or_thread, here = guild.get_channel_or_thread(target), guild.get_channel_or_thread(place)
    assert await asker_may_read(channel_or_thread, build_member(guild, *roles), here) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (LOUNGE, {OPEN, FORUM, VOICE, LOUNGE}),
        (SECRET, {OPEN, FORUM, VOICE, LOUNGE, SECRET, LOCKED_VOICE}),
        (PUBLIC_IN_SECRET, {OPEN, FORUM, VOICE, LOUNGE, SECRET, LOCKED_VOICE}),
        (LOCKED_VOICE, {OPEN, FORUM, VOICE, LOUNGE, SECRET, LOCKED_VOICE}),
        (JOINED, {OPEN, FORUM, VOICE, LOUNGE, JOINED}),
    ],
)
async def test_a_public_answer_shows_only_what_all_its_readers_may_read(
    guild: disnake.Guild, place: int, expected: set[int]
) -> None:
    """This holds for the owner's searches too: channels that only the owner may read are not shown to everybody."""
    assert await list_readable(guild, build_member(guild, user_id=OWNER), place, seen_by_all=True) == expected


async def test_a_public_answer_in_an_unknown_channel_shows_nothing(guild: disnake.Guild) -> None:
    data: Any = channel(999)
    unknown = disnake.TextChannel(state=guild._state, guild=guild, data=data)
    assert await list_readable_channels(guild, build_member(guild), unknown, seen_by_all=True) == ()


BITS = st.sampled_from([0, VIEW, HISTORY, CONNECT, VIEW | HISTORY, VIEW | HISTORY | CONNECT])
TARGETS = (EVERYONE, READERS, MANAGERS, MEMBER)
OVERWRITES = st.lists(st.tuples(st.sampled_from(TARGETS), BITS, BITS), max_size=4, unique_by=lambda each: each[0])


@given(BITS, BITS, st.tuples(OVERWRITES, OVERWRITES, OVERWRITES), st.lists(st.sampled_from([0, 2]), min_size=3, max_size=3))
async def test_everyone_who_sees_a_public_answer_may_read_what_it_shows(
    everyone: int, readers: int, overwrites: tuple[list[Any], ...], kinds: list[int]
) -> None:
    """For any roles and overwrites of those who see the channel, whether or not they may read its history."""
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
    guild = create_client_state()._add_guild_from_data(GUILD_PAYLOAD | {"roles": roles, "channels": channels, "threads": []})
    place = guild.get_channel(500)
    shown = await list_readable_channels(guild, build_member(guild, user_id=OWNER), place, seen_by_all=True)
    for given_roles in ((), (READERS,), (MANAGERS,), (READERS, MANAGERS)):
        for user_id in (MEMBER, STRANGER):
            reader = build_member(guild, *given_roles, user_id=user_id)
            seen = place.permissions_for(reader)
            sees_answer = seen.view_channel and (seen.connect or place.type is disnake.ChannelType.text)
            if sees_answer:
                assert all(guild.get_channel(int(each)).permissions_for(reader) >= READ_PERMISSIONS for each in shown)
