"""Plans of the leak suite: a guild, the posts in it, and the steps in which members search, press buttons and change things.

A plan names things by small numbers (modulo what exists), so that Hypothesis can draw it, and it can be printed and written down.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from hypothesis import strategies as st

from infra.sandbox.simulator import Permission

ASKERS = 4
"""The number of askers. The member after them is the guild's owner. The first asker is in another guild too."""
ROLES = 3
PIECES = 3
"""The number of pieces. The query picture of piece 0 or 1 shows both, so its answer may contain either."""

VIEW, READ_HISTORY, VIEW_AND_HISTORY = (
    Permission.VIEW_CHANNEL,
    Permission.READ_MESSAGE_HISTORY,
    Permission.VIEW_CHANNEL | Permission.READ_MESSAGE_HISTORY,
)
AskStep = Literal["image", "link", "address", "menu", "words", "wish", "alerts"]
PressStep = Literal["press", "old", "forge"]
ChangeStep = Literal["post", "rules", "hide", "roles", "grant", "kick", "join", "archive", "adults", "delete", "leave"]
StepKind = AskStep | PressStep | ChangeStep
RoomKind = Literal["text", "voice", "stage", "announcement", "forum", "media"]


GRANTED = (
    Permission.NONE,
    VIEW,
    READ_HISTORY,
    VIEW_AND_HISTORY,
    VIEW_AND_HISTORY,
    Permission.MANAGE_THREADS,
    Permission.ADMINISTRATOR,
)
"""The permissions that a role may grant."""
RIGHTS = st.sampled_from([VIEW, READ_HISTORY, VIEW_AND_HISTORY, Permission.CONNECT])
GRANTS = st.sampled_from(GRANTED)
SOME = st.frozensets(st.integers(0, ASKERS - 1))
NUMBER = st.integers(0, 11)
ASKING: tuple[StepKind, ...] = ("image", "image", "link", "address", "menu", "words", "wish", "alerts")
PRESSING: tuple[StepKind, ...] = ("press", "press", "old", "forge")
CHANGING: tuple[StepKind, ...] = ("post", *get_args(ChangeStep))

NONE = Permission.NONE
OWNER = ASKERS
FIRST_ASKER = 1 + ROLES
FIRST_ONLY = frozenset({0})
FIRST_ROLE_FOR_FIRST = (FIRST_ONLY, frozenset(), frozenset(), frozenset())
POSTS_BUTTON = 0


@dataclass(frozen=True)
class Rule:
    """An overwrite. The target is @everyone (0), then the roles, then the askers."""

    target: int
    allow: Permission
    deny: Permission


@dataclass(frozen=True)
class Room:
    """A channel of a guild. A forum and a media channel have threads only."""

    rules: tuple[Rule, ...] = ()
    kind: RoomKind = "text"
    adults: bool = False


@dataclass(frozen=True)
class Thread:
    """A thread of a room, or a post of a forum, which is never private. A room that cannot have threads counts as the first one."""

    room: int
    private: bool = False
    archived: bool = False
    members: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Post:
    """A message in a channel or a thread. `age` orders posts by time. With `twice` it has a second picture."""

    spot: int
    piece: int
    age: int
    twice: bool = False


@dataclass(frozen=True)
class Step:
    """Who does what, where, and with which object. `flag`: whether the answer is private, or whether a setting is on."""

    what: StepKind
    who: int = 0
    where: int = 0
    which: int = 0
    flag: bool = True
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A guild, its posts, and the steps.

    `roles` and `everyone` are the permissions that they grant, `members` the roles of each asker. `silent` are the askers who
    accept no direct messages. With `common`, answers are public by default.
    """

    rooms: tuple[Room, ...]
    threads: tuple[Thread, ...]
    posts: tuple[Post, ...]
    steps: tuple[Step, ...]
    everyone: Permission = VIEW_AND_HISTORY
    roles: tuple[Permission, ...] = (Permission.NONE,) * ROLES
    members: tuple[frozenset[int], ...] = (frozenset(),) * ASKERS
    silent: frozenset[int] = frozenset()
    common: bool = False


def _rule(target: int, right: Permission, allowed: bool) -> Rule:
    return Rule(target, right, Permission.NONE) if allowed else Rule(target, Permission.NONE, right)


RULE = st.builds(_rule, st.integers(0, ROLES + ASKERS), RIGHTS, st.booleans())

RULES = st.lists(RULE, max_size=3, unique_by=lambda rule: rule.target).map(tuple)

SECRET = st.builds(
    lambda rule: (Rule(0, Permission.NONE, VIEW), rule), st.builds(_rule, st.integers(1, ROLES + ASKERS), RIGHTS, st.just(True))
)

ROOM = st.builds(
    Room, st.just(()) | RULES | SECRET, st.sampled_from(("text", *get_args(RoomKind))), st.sampled_from([False, False, True])
)

THREAD = st.builds(Thread, NUMBER, st.booleans(), st.sampled_from([False, False, True]), SOME)

POST = st.builds(Post, NUMBER, st.integers(0, PIECES - 1), st.integers(0, 99), st.sampled_from([False, False, False, True]))

STEP = st.builds(
    Step,
    st.one_of(*map(st.sampled_from, (ASKING, PRESSING, CHANGING))),
    st.integers(0, ASKERS),
    NUMBER,
    NUMBER,
    st.booleans(),
    RULES,
)


def draw_plans(most_steps: int) -> st.SearchStrategy[Plan]:
    """Return a strategy for plans with a few channels and threads, and at most `most_steps` steps."""
    rooms = st.builds(lambda first, more: (Room(first), *more), st.just(()) | RULES, st.lists(ROOM, min_size=1, max_size=4))
    return st.builds(
        Plan,
        rooms,
        st.lists(THREAD, max_size=4).map(tuple),
        st.lists(POST, min_size=5, max_size=10).map(tuple),
        st.lists(STEP, min_size=6, max_size=most_steps).map(tuple),
        st.sampled_from([VIEW_AND_HISTORY, VIEW_AND_HISTORY, VIEW_AND_HISTORY, VIEW_AND_HISTORY, VIEW, Permission.NONE]),
        st.tuples(*[GRANTS] * ROLES),
        st.tuples(*[st.frozensets(st.integers(0, ROLES - 1))] * ASKERS),
        SOME,
        st.booleans(),
    )


HIDDEN = Rule(0, NONE, VIEW)

SECRET_ROOM = Room((HIDDEN, Rule(1, VIEW_AND_HISTORY, NONE)))
"""A channel for members with the first role."""

TWO_POSTS = (Post(0, 0, 9), Post(1, 0, 5))

EXAMPLE_PLANS: dict[str, Plan] = {
    "the role is removed between the answer and the press": Plan(
        (Room(), SECRET_ROOM),
        (),
        TWO_POSTS,
        (Step("image"), Step("roles", which=0), Step("old", where=POSTS_BUTTON), Step("old", where=POSTS_BUTTON), Step("image")),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "the channel is hidden between a public answer and the press of another member": Plan(
        (Room(), Room(), Room((Rule(2, NONE, READ_HISTORY),))),
        (),
        (*TWO_POSTS, Post(2, 0, 7)),
        (Step("image", flag=False), Step("hide", where=1), Step("press", who=1), Step("old"), Step("press", who=2)),
        members=(frozenset(), frozenset(), frozenset({1}), frozenset()),
    ),
    "the pages of a public answer after its asker may read more than others": Plan(
        (Room(), Room()),
        (),
        (*TWO_POSTS, Post(0, 0, 3)),
        (
            Step("image", flag=False),
            Step("rules", where=1, rules=SECRET_ROOM.rules),
            Step("old"),
            Step("old"),
            Step("press", who=1),
        ),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "a forged button with the id of the owner's search": Plan(
        (Room(), SECRET_ROOM),
        (),
        TWO_POSTS,
        (Step("image", who=1), Step("image", who=OWNER), *(Step("forge", who=1, where=each, which=each) for each in range(4))),
    ),
    "a public search in a channel where some may not read the history": Plan(
        (Room((Rule(1, NONE, READ_HISTORY),)), Room()),
        (),
        TWO_POSTS,
        (Step("image", who=1, flag=False), Step("image", who=2, where=1, flag=False), Step("image", who=0)),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "a member who accepts no direct messages is mentioned where others see it": Plan(
        (Room(), SECRET_ROOM),
        (),
        (),
        (Step("wish"), Step("post", where=1, which=PIECES), Step("wish", who=1), Step("post", where=0, which=PIECES)),
        members=FIRST_ROLE_FOR_FIRST,
        silent=frozenset({0, 1}),
    ),
    "a member who left is not notified": Plan(
        (Room(), SECRET_ROOM),
        (),
        (),
        (Step("wish"), Step("wish", who=2), Step("leave", who=2), Step("post", where=1, which=PIECES), Step("post", which=PIECES)),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "a private thread, before and after a member is removed from it": Plan(
        (Room(),),
        (Thread(0, private=True, members=frozenset({0, 1})),),
        TWO_POSTS,
        (
            Step("image"),
            Step("image", where=1, flag=False),
            Step("image", who=2),
            Step("kick"),
            Step("old", which=2),
            Step("image"),
            Step("link", which=1),
            Step("link", who=1, which=1),
            Step("archive"),
            Step("image", who=1),
        ),
    ),
    "an age-restricted channel that becomes unrestricted": Plan(
        (Room(), Room(adults=True), Room((HIDDEN, Rule(FIRST_ASKER, VIEW_AND_HISTORY, NONE)), adults=True)),
        (),
        (*TWO_POSTS, Post(2, 0, 3)),
        (
            Step("image", where=1),
            Step("image"),
            Step("image", where=1, flag=False),
            Step("adults", where=1, flag=False),
            Step("old", which=0),
            Step("old", which=3),
            Step("image"),
        ),
    ),
    "a repost of a post in a channel that others cannot see": Plan(
        (Room(), SECRET_ROOM),
        (),
        (Post(1, 0, 5),),
        (Step("post", which=0), Step("post", where=1, which=0), Step("image"), Step("image", who=1)),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "a repost in a channel where some may not read the history": Plan(
        (Room((Rule(1, NONE, READ_HISTORY),)),),
        (),
        (Post(0, 0, 5),),
        (Step("post", which=0), Step("rules"), Step("post", which=0)),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "voice and stage channels, to which some may not connect": Plan(
        (
            Room(),
            Room((Rule(1, NONE, Permission.CONNECT),), "voice"),
            Room((HIDDEN, Rule(1, VIEW_AND_HISTORY, NONE)), "stage"),
            Room((Rule(1, NONE, READ_HISTORY),), "voice"),
        ),
        (),
        (*TWO_POSTS, Post(2, 0, 7), Post(3, 0, 3)),
        (
            *(Step(what, who=who) for what in ("image", "words") for who in (0, 1)),
            *(Step(what, who=1, which=which) for what in ("link", "address") for which in range(4)),
            Step("image", where=1, who=1, flag=False),
            Step("image", where=2, flag=False),
            Step("roles", which=0),
            Step("image"),
            Step("link", which=2),
        ),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "forums and media channels, of which some are hidden": Plan(
        (Room(), Room(SECRET_ROOM.rules, "forum"), Room((), "media"), Room((HIDDEN,), "media"), Room((), "forum", adults=True)),
        (Thread(1), Thread(2), Thread(3), Thread(0, private=True, members=FIRST_ONLY), Thread(4)),
        tuple(Post(spot, 0, 9 - spot) for spot in range(6)),
        (
            *(Step(what, who=who) for what in ("image", "words") for who in (0, 1)),
            *(Step("link", who=1, which=which) for which in range(6)),
            *(Step("address", who=1, which=which) for which in (1, 3, 4)),
            *(Step("link", which=which) for which in (1, 3, 5)),
            Step("words", flag=False),
            Step("image", where=2, who=1, flag=False),
            Step("hide", where=2),
            Step("old"),
            Step("words", who=1),
        ),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "alerts are listed to whom they belong": Plan(
        (Room(), SECRET_ROOM, Room((HIDDEN, Rule(1, VIEW_AND_HISTORY, NONE)), "forum")),
        (Thread(2),),
        (),
        (
            Step("alerts"),
            Step("wish"),
            Step("wish", where=1),
            Step("wish", who=1),
            *(Step("alerts", who=who) for who in (0, 1, 2)),
            Step("roles", which=0),
            Step("post", where=1, which=PIECES),
            Step("post", where=2, which=PIECES),
            *(Step("alerts", who=who) for who in (0, 1)),
            Step("post", where=0, which=PIECES),
            *(Step("alerts", who=who) for who in (0, 1)),
        ),
        members=FIRST_ROLE_FOR_FIRST,
    ),
    "a channel with threads is deleted": Plan(
        (Room(), Room()),
        (Thread(1), Thread(1, private=True, members=FIRST_ONLY)),
        (*TWO_POSTS, Post(2, 0, 3), Post(3, 0, 2)),
        (Step("image"), Step("delete", where=0), Step("old", where=POSTS_BUTTON), Step("image")),
    ),
}
