"""What people do in a run of the leak suite: they ask, press, post and change things, and find what they may read."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

from contracts.errors import MapSeekError
from infra.discord.answers.buttons import BROWSE, build_custom_id
from infra.discord.wording import localize
from infra.sandbox.simulator import Channel, Interaction, Member, Message
from infra.sandbox.simulator.client import list_buttons
from infra.sandbox.simulator.model import EPHEMERAL
from tests.support.leak_plans import PIECES, VIEW_AND_HISTORY, Step
from tests.support.leak_play import CHANGE_STEPS, LeakGuild, Wish, acting_member, is_adult
from tests.support.leaks import PostedPicture, capture_message, may_read, query_picture
from tests.support.waiting import eventually

ENGLISH = "en-US"
BUSY_SUFFIX = "…"
"""How every line ends that says at what a search is."""
NEXT_LABEL, ALERT_LABEL = (localize(ENGLISH, f"answers-button-{name}") for name in ("next", "alert"))
POSTS_LABEL = re.compile(localize(ENGLISH, "answers-button-posts", count=77).replace("77", r"(\d+)"))


async def wait_for_answer(company: LeakGuild, interaction: Interaction) -> Message:
    """The answer, once it says more than at what the search is."""
    company.answers.append(interaction)
    company.ledger.answers.append(interaction)

    def done() -> bool:
        message = interaction.original
        waiting = (
            message is None
            or interaction.answered_after_s is None
            or (not message.embeds and message.content.endswith(BUSY_SUFFIX))
        )
        return not waiting

    await eventually(done)
    assert interaction.original is not None
    return interaction.original


async def press_label(company: LeakGuild, message: Message, who: Member, label: str, piece: int | None = None) -> Message:
    """Press a button. Asking to be told of a picture is remembered with it, where it is known which one that is."""
    if label == ALERT_LABEL:
        told = len(company.discord.direct_messages(who))
        company.wishes.append(Wish(who, piece, is_adult(message.channel), told))
    return await wait_for_answer(company, await company.discord.press(message, who, label=label))


def _is_plain(post: PostedPicture) -> bool:
    """Whether no setting keeps anybody in the guild from reading a post."""
    room, everyone = post.channel.parent or post.channel, post.guild.everyone.permissions
    return not post.channel.private and not room.overwrites and everyone & VIEW_AND_HISTORY == VIEW_AND_HISTORY


async def check_completeness(company: LeakGuild, asked: Interaction, message: Message, piece: int, *, alone: bool) -> None:
    """Turn the pages: every post of the piece that the asker may read is there, and as many are counted as are there.

    What is posted in private threads that are archived is not found; an answer for all shows at least what is open to all.
    """
    who, place = asked.member, asked.channel
    assert who is not None
    wanted = {
        post
        for post in company.posts
        if post.piece == piece
        and post.there
        and may_read(post.channel, who, is_adult(place))
        and not (post.channel.private and post.channel.archived)
        and (alone or _is_plain(post))
    }
    if not wanted:
        return
    company.ledger.required += len(wanted)
    company.look()
    told, counted = _told(company, message, piece), None
    for button in list_buttons(message.components):
        if number := POSTS_LABEL.fullmatch(button.label):
            counted = int(number[1])
            message = await press_label(company, message, who, button.label)
            told |= _told(company, message, piece)
            while any(each.label == NEXT_LABEL and not each.disabled for each in list_buttons(message.components)):
                message = await press_label(company, message, who, NEXT_LABEL)
                told |= _told(company, message, piece)
    assert wanted <= told, f"not shown to {who.user.name}: {[post.message.jump_url for post in wanted - told]}"
    assert counted in (None, len(told)), f"{counted} posts are counted, but these are told: {sorted(each.number for each in told)}"


def _told(company: LeakGuild, message: Message, piece: int) -> set[PostedPicture]:
    shown = capture_message(message, ())
    return {post for post in company.posts if post.piece == piece and shown.tells_of(post)}


async def take_step(company: LeakGuild, step: Step) -> None:
    """One step of a plan, to its end: whatever Discord itself does not allow is left out."""
    with suppress(MapSeekError):
        await STEPS[step.what](company, step)
    await company.settle()
    company.look()


def step_channel(company: LeakGuild, step: Step) -> Channel:
    """Where it is done."""
    return company.spots[step.where % len(company.spots)]


async def _ask(company: LeakGuild, step: Step, piece: int | None = None) -> Message:
    """`/find image:`"""
    about = step.which % PIECES if piece is None else piece
    question = {"image": ("question.png", query_picture(about))}
    asked = await company.discord.slash(
        step_channel(company, step), acting_member(company, step), "find", attachments=question, options={"private": step.flag}
    )
    message = await wait_for_answer(company, asked)
    await check_completeness(company, asked, message, about, alone=step.flag)
    return message


async def _ask_by_link(company: LeakGuild, step: Step) -> None:
    """`/find link:`, which works with exactly those messages that the asker may read from there."""
    post, place, who = _post(company, step), step_channel(company, step), acting_member(company, step)
    options = {"link": post.message.jump_url, "private": step.flag}
    asked = await company.discord.slash(place, who, "find", options=options)
    message = await wait_for_answer(company, asked)
    if post.there and may_read(post.channel, who, is_adult(place)):
        assert message.embeds, f"{who.user.name} may read {post.message.jump_url}, but: {message.content}"
        await check_completeness(company, asked, message, _first_piece(company, post), alone=step.flag)
    else:
        assert (message.content, message.embeds) == (localize(ENGLISH, "asking-link-missing"), [])


async def _ask_by_menu(company: LeakGuild, step: Step) -> None:
    """ "Find this map" on a message; one answer for each of its pictures."""
    post, who = _post(company, step), acting_member(company, step)
    asked = await company.discord.message_command(post.channel, who, "Find this map", post.message)
    message = await wait_for_answer(company, asked)
    pieces = [each.piece for each in company.posts if each.message is post.message]
    await eventually(lambda: sum(bool(each.embeds) for each in asked.followups.values()) == len(pieces) - 1)
    for shown, piece in zip([message, *list(asked.followups.values())], pieces, strict=True):
        await check_completeness(company, asked, shown, piece, alone=not company.common)


async def _wish(company: LeakGuild, step: Step) -> None:
    """Ask for a picture that may not have been posted yet, and to be told of it."""
    message = await _ask(company, step, piece=PIECES)
    if any(each.label == ALERT_LABEL for each in list_buttons(message.components)):
        await press_label(company, message, acting_member(company, step), ALERT_LABEL, PIECES)


async def _press(company: LeakGuild, step: Step, *, by: Member | None = None) -> None:
    """Any button of any answer so far, the last one being the first, as it looks by now."""
    asked = company.answers[-1 - step.which % len(company.answers)] if company.answers else None
    messages = [each for each in (asked.original, *asked.followups.values()) if each is not None] if asked else []
    labels = [each.label for message in messages[:1] for each in list_buttons(message.components) if each.custom_id]
    if asked is not None and labels:
        await press_label(company, messages[0], by or acting_member(company, step), labels[step.where % len(labels)])


async def _press_own(company: LeakGuild, step: Step) -> None:
    """The same, by the one who asked."""
    if company.answers:
        await _press(company, step, by=company.answers[-1 - step.which % len(company.answers)].member)


async def _forge(company: LeakGuild, step: Step) -> None:
    """Press a button with an id of somebody else's search, of this guild or another, as no client of Discord would."""
    who = acting_member(company, step)
    messages = [each.original for each in company.answers if each.original is not None]
    before_them = [
        each for each in messages if not each.flags & EPHEMERAL or (each.interaction and each.interaction.user is who.user)
    ]
    if not before_them:
        return
    message, searches = before_them[-1], [each for each in company.ledger.answers if each.message is None]
    victim = searches[-1 - step.where % len(searches)]
    asker = who if step.flag else victim.user
    view = ("piece", "posts", "why")[step.which % 3]
    forged = build_custom_id(BROWSE, str(victim.id), str(asker.id), view, str(step.where % 2), "0")
    before = message.components
    message.components = [{"type": 1, "id": 1, "components": [{"type": 2, "id": 2, "style": 2, "label": "x", "custom_id": forged}]}]
    try:
        pressed = await company.discord.press(message, who, forged)
    finally:
        message.components = before
    await wait_for_answer(company, pressed)


async def _more(company: LeakGuild, step: Step) -> None:
    """Another post, now. Whoever waits for it and may read it is told."""
    piece, spot = step.which % (PIECES + 1), step_channel(company, step)
    direct = company.discord.direct_messages
    waiting = [each for each in company.wishes if each.piece == piece and len(direct(each.member)) == each.before]
    await company.post(spot, [piece], None)
    await company.settle()
    message = company.posts[-1].message
    for wish in waiting:
        if wish.member.id not in company.silent and may_read(spot, wish.member, wish.adults):
            company.ledger.required += 1
            assert message.jump_url in direct(wish.member)[-1].content


def _post(company: LeakGuild, step: Step) -> PostedPicture:
    return company.posts[step.which % len(company.posts)]


def _first_piece(company: LeakGuild, post: PostedPicture) -> int:
    return next(each.piece for each in company.posts if each.message is post.message)


STEPS: dict[str, Callable[[LeakGuild, Step], Awaitable[object]]] = {
    "image": _ask,
    "link": _ask_by_link,
    "menu": _ask_by_menu,
    "wish": _wish,
    "press": _press,
    "old": _press_own,
    "forge": _forge,
    "post": _more,
    **CHANGE_STEPS,
}
