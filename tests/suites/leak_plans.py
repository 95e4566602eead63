"""What a run of the leak suite does: a guild, what is posted in it, and who then asks, presses and changes what.

A plan names things by small numbers, so that it can be drawn, printed and written down: 0 and on, modulo what there is.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from hypothesis import strategies as st

from infra.sandbox.simulator import Permission

ASKERS = 4
"""Members who ask; the number after them is the guild's owner. The first one is in another guild, too."""
ROLES = 3
PIECES = 3
"""Pieces of map art; who looks for 0 or 1 asks with a picture of both, and so may be told of either."""

View, History, All = (
    Permission.VIEW_CHANNEL,
    Permission.READ_MESSAGE_HISTORY,
    Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY,
)
Asking = Literal["image", "link", "menu", "wish"]
Pressing = Literal["press", "old", "forge"]
Changing = Literal["post", "rules", "hide", "roles", "grant", "kick", "join", "archive", "adults", "delete", "leave"]
What = Asking | Pressing | Changing


@dataclass(frozen=True)
class Rule:
    """An overwrite; the target is @everyone (0), a role, or after those an asker."""

    target: int
    allow: Permission
    deny: Permission


@dataclass(frozen=True)
class Room:
    """A text channel or a forum."""

    rules: tuple[Rule, ...] = ()
    forum: bool = False
    adults: bool = False


@dataclass(frozen=True)
class Thread:
    """A thread of a room, or a forum's post, which is never private."""

    room: int
    private: bool = False
    archived: bool = False
    members: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Post:
    """A message in a room that is no forum, or in a thread; `age` orders posts by time. `twice`: with a second picture."""

    spot: int
    piece: int
    age: int
    twice: bool = False


@dataclass(frozen=True)
class Step:
    """Who does what where, and with which of the things of that kind. `flag` is whether alone, or whether on."""

    what: What
    who: int = 0
    where: int = 0
    which: int = 0
    flag: bool = True
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Plan:
    """`roles` and `everyone` are what they grant, `members` the roles of each asker, `silent` those who take no direct messages.
    `common`: answers are for all who are there, unless it is said otherwise.
    """

    rooms: tuple[Room, ...]
    threads: tuple[Thread, ...]
    posts: tuple[Post, ...]
    steps: tuple[Step, ...]
    everyone: Permission = All
    roles: tuple[Permission, ...] = (Permission.NONE,) * ROLES
    members: tuple[frozenset[int], ...] = (frozenset(),) * ASKERS
    silent: frozenset[int] = frozenset()
    common: bool = False


GRANTED = (Permission.NONE, View, History, All, All, Permission.MANAGE_THREADS, Permission.ADMINISTRATOR)
"""What a role may grant."""
RIGHTS = st.sampled_from([View, History, All])
GRANTS = st.sampled_from(GRANTED)


def _rule(target: int, right: Permission, allowed: bool) -> Rule:
    return Rule(target, right, Permission.NONE) if allowed else Rule(target, Permission.NONE, right)


RULE = st.builds(_rule, st.integers(0, ROLES + ASKERS), RIGHTS, st.booleans())
RULES = st.lists(RULE, max_size=3, unique_by=lambda rule: rule.target).map(tuple)
SECRET = st.builds(
    lambda rule: (Rule(0, Permission.NONE, View), rule), st.builds(_rule, st.integers(1, ROLES + ASKERS), RIGHTS, st.just(True))
)
ROOM = st.builds(
    Room, st.just(()) | RULES | SECRET, st.sampled_from([False, False, False, True]), st.sampled_from([False, False, True])
)
SOME = st.frozensets(st.integers(0, ASKERS - 1))
NUMBER = st.integers(0, 11)
THREAD = st.builds(Thread, NUMBER, st.booleans(), st.sampled_from([False, False, True]), SOME)
POST = st.builds(Post, NUMBER, st.integers(0, PIECES - 1), st.integers(0, 99), st.sampled_from([False, False, False, True]))
ASKING: tuple[What, ...] = ("image", "image", "image", "link", "menu", "wish")
PRESSING: tuple[What, ...] = ("press", "press", "old", "forge")
CHANGING: tuple[What, ...] = ("post", *get_args(Changing))
STEP = st.builds(
    Step,
    st.one_of(*map(st.sampled_from, (ASKING, PRESSING, CHANGING))),
    st.integers(0, ASKERS),
    NUMBER,
    NUMBER,
    st.booleans(),
    RULES,
)


def plans(most_steps: int) -> st.SearchStrategy[Plan]:
    """Guilds of a few channels and threads, and what happens there."""
    rooms = st.builds(lambda first, more: (Room(first), *more), st.just(()) | RULES, st.lists(ROOM, min_size=1, max_size=4))
    return st.builds(
        Plan,
        rooms,
        st.lists(THREAD, max_size=4).map(tuple),
        st.lists(POST, min_size=5, max_size=10).map(tuple),
        st.lists(STEP, min_size=6, max_size=most_steps).map(tuple),
        st.sampled_from([All, All, All, All, View, Permission.NONE]),
        st.tuples(*[GRANTS] * ROLES),
        st.tuples(*[st.frozensets(st.integers(0, ROLES - 1))] * ASKERS),
        SOME,
        st.booleans(),
    )
