"""Plans that are played each time: the ways to leak that were thought of, or were found."""

from infra.sandbox.simulator import Permission
from tests.suites.leak_plans import ASKERS, PIECES, ROLES, All, History, Plan, Post, Room, Rule, Step, Thread, View

NONE = Permission.NONE
OWNER = ASKERS
FIRST_ASKER = 1 + ROLES
HIDDEN = Rule(0, NONE, View)
SECRET_ROOM = Room((HIDDEN, Rule(1, All, NONE)))
"""For those with the first role."""
IN = frozenset({0})
ONE_INSIDE = (IN, frozenset(), frozenset(), frozenset())
TWO_POSTS = (Post(0, 0, 9), Post(1, 0, 5))
POSTS_BUTTON = 0

EXAMPLES: dict[str, Plan] = {
    "the role is taken between the answer and the press": Plan(
        (Room(), SECRET_ROOM),
        (),
        TWO_POSTS,
        (Step("image"), Step("roles", which=0), Step("old", where=POSTS_BUTTON), Step("old", where=POSTS_BUTTON), Step("image")),
        members=ONE_INSIDE,
    ),
    "the channel is hidden between an answer for all and the press of somebody else": Plan(
        (Room(), Room(), Room((Rule(2, NONE, History),))),
        (),
        (*TWO_POSTS, Post(2, 0, 7)),
        (Step("image", flag=False), Step("hide", where=1), Step("press", who=1), Step("old"), Step("press", who=2)),
        members=(frozenset(), frozenset(), frozenset({1}), frozenset()),
    ),
    "turning the pages of an answer for all when its asker may read more than others by now": Plan(
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
        members=ONE_INSIDE,
    ),
    "a button with the id of the owner's search": Plan(
        (Room(), SECRET_ROOM),
        (),
        TWO_POSTS,
        (Step("image", who=1), Step("image", who=OWNER), *(Step("forge", who=1, where=each, which=each) for each in range(4))),
    ),
    "who asks for all in a channel where some may not read back": Plan(
        (Room((Rule(1, NONE, History),)), Room()),
        (),
        TWO_POSTS,
        (Step("image", who=1, flag=False), Step("image", who=2, where=1, flag=False), Step("image", who=0)),
        members=ONE_INSIDE,
    ),
    "who takes no direct messages is mentioned where others see it": Plan(
        (Room(), SECRET_ROOM),
        (),
        (),
        (Step("wish"), Step("post", where=1, which=PIECES), Step("wish", who=1), Step("post", where=0, which=PIECES)),
        members=ONE_INSIDE,
        silent=frozenset({0, 1}),
    ),
    "who left is not told": Plan(
        (Room(), SECRET_ROOM),
        (),
        (),
        (Step("wish"), Step("wish", who=2), Step("leave", who=2), Step("post", where=1, which=PIECES), Step("post", which=PIECES)),
        members=ONE_INSIDE,
    ),
    "a private thread, before and after one is taken out of it": Plan(
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
    "for adults, and no longer": Plan(
        (Room(), Room(adults=True), Room((HIDDEN, Rule(FIRST_ASKER, All, NONE)), adults=True)),
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
    "a repost of what was posted where others cannot look": Plan(
        (Room(), SECRET_ROOM),
        (),
        (Post(1, 0, 5),),
        (Step("post", which=0), Step("post", where=1, which=0), Step("image"), Step("image", who=1)),
        members=ONE_INSIDE,
    ),
    "a repost where some may not read back": Plan(
        (Room((Rule(1, NONE, History),)),),
        (),
        (Post(0, 0, 5),),
        (Step("post", which=0), Step("rules"), Step("post", which=0)),
        members=ONE_INSIDE,
    ),
    "a channel with threads is deleted": Plan(
        (Room(), Room()),
        (Thread(1), Thread(1, private=True, members=IN)),
        (*TWO_POSTS, Post(2, 0, 3), Post(3, 0, 2)),
        (Step("image"), Step("delete", where=0), Step("old", where=POSTS_BUTTON), Step("image")),
    ),
}
