"""The steps of the leak suite: members search, press buttons, post and change things, and must find what they may read."""

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
from tests.support.leaks import PostedPicture, capture_message, may_read, name_piece, query_picture
from tests.support.waiting import eventually

ENGLISH = "en-US"
BUSY_SUFFIX = "…"
"""The end of every progress line of a search."""
NEXT_LABEL, ALERT_LABEL = (localize(ENGLISH, f"answers-button-{name}") for name in ("next", "alert"))
POSTS_LABEL = re.compile(localize(ENGLISH, "answers-button-posts", count=77).replace("77", r"(\d+)"))


async def wait_for_answer(company: LeakGuild, interaction: Interaction) -> Message:
    """Wait for the answer, ignoring progress lines."""
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
    """Press a button and wait for the answer. An alert is remembered, with its piece if that is known."""
    count = len(company.discord.direct_messages(who))
    pressed = await company.discord.press(message, who, label=label)
    if label == ALERT_LABEL:
        company.wishes.append(Wish(who, piece, is_adult(message.channel), count, pressed))
    return await wait_for_answer(company, pressed)


def _is_plain(post: PostedPicture) -> bool:
    """Whether every member of the guild may read a post."""
    room, everyone = post.channel.parent or post.channel, post.guild.everyone.permissions
    return not post.channel.private and not room.overwrites and everyone & VIEW_AND_HISTORY == VIEW_AND_HISTORY


async def check_completeness(company: LeakGuild, asked: Interaction, message: Message, piece: int, *, alone: bool) -> None:
    """Turn all pages of an answer. Check that it shows every post of the piece that the asker may read, and counts them correctly.

    Posts in archived private threads are not found. A public answer (not `alone`) must show at least the posts that everybody may
    read.
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
    shown, counted = _shown_posts(company, message, piece), None
    for button in list_buttons(message.components):
        if number := POSTS_LABEL.fullmatch(button.label):
            counted = int(number[1])
            message = await press_label(company, message, who, button.label)
            shown |= _shown_posts(company, message, piece)
            while any(each.label == NEXT_LABEL and not each.disabled for each in list_buttons(message.components)):
                message = await press_label(company, message, who, NEXT_LABEL)
                shown |= _shown_posts(company, message, piece)
    assert wanted <= shown, f"not shown to {who.user.name}: {[post.message.jump_url for post in wanted - shown]}"
    assert counted in (None, len(shown)), (
        f"{counted} posts are counted, but these are shown: {sorted(each.number for each in shown)}"
    )


def _shown_posts(company: LeakGuild, message: Message, piece: int) -> set[PostedPicture]:
    shown = capture_message(message, ())
    return {post for post in company.posts if post.piece == piece and shown.reveals(post)}


async def take_step(company: LeakGuild, step: Step) -> None:
    """Do one step of a plan and check what everybody sees. A step that Discord itself does not allow is skipped."""
    with suppress(MapSeekError):
        await STEPS[step.what](company, step)
    await company.settle()
    company.look()


def step_channel(company: LeakGuild, step: Step) -> Channel:
    """Return the channel of a step."""
    return company.spots[step.where % len(company.spots)]


async def _ask(company: LeakGuild, step: Step, piece: int | None = None) -> Message:
    """`/find image:`"""
    about = step.which % PIECES if piece is None else piece
    query = {"image": ("question.png", query_picture(about))}
    asked = await company.discord.slash(
        step_channel(company, step), acting_member(company, step), "find", attachments=query, options={"private": step.flag}
    )
    message = await wait_for_answer(company, asked)
    await check_completeness(company, asked, message, about, alone=step.flag)
    return message


async def _ask_by_link(company: LeakGuild, step: Step) -> None:
    """`/find link:`, which finds exactly the messages that the asker may read in that channel."""
    post, place, who = _post(company, step), step_channel(company, step), acting_member(company, step)
    options = {"link": post.message.jump_url, "private": step.flag}
    asked = await company.discord.slash(place, who, "find", options=options)
    message = await wait_for_answer(company, asked)
    if post.there and may_read(post.channel, who, is_adult(place)):
        assert message.embeds, f"{who.user.name} may read {post.message.jump_url}, but: {message.content}"
        await check_completeness(company, asked, message, _first_piece_of(company, post), alone=step.flag)
    else:
        assert (message.content, message.embeds) == (localize(ENGLISH, "asking-link-missing"), [])


async def _ask_by_address(company: LeakGuild, step: Step) -> None:
    """`/find link:` with the address of a picture. Everybody may open it who has it, but learns no more than from the picture."""
    post, who = _post(company, step), acting_member(company, step)
    options = {"link": post.message.attachments[post.position].url, "private": step.flag}
    asked = await company.discord.slash(step_channel(company, step), who, "find", options=options)
    message = await wait_for_answer(company, asked)
    if post.there:
        await check_completeness(company, asked, message, post.piece, alone=step.flag)


async def _ask_by_words(company: LeakGuild, step: Step) -> None:
    """`/find-text`. Whoever may read a post of the piece is shown something."""
    piece, place, who = step.which % PIECES, step_channel(company, step), acting_member(company, step)
    options = {"query": name_piece(piece), "private": step.flag}
    message = await wait_for_answer(company, await company.discord.slash(place, who, "find-text", options=options))
    readable = [each for each in company.posts if each.there and may_read(each.channel, who, is_adult(place))]
    findable = [each for each in readable if not (each.channel.private and each.channel.archived)]
    if any(step.flag or _is_plain(each) for each in findable if each.piece == piece):
        assert any(_shown_posts(company, message, each) for each in range(PIECES + 1)), message.embeds


async def _list_alerts(company: LeakGuild, step: Step) -> None:
    """`/alerts` lists no alert that the member did not set."""
    who = acting_member(company, step)
    message = await wait_for_answer(company, await company.discord.slash(step_channel(company, step), who, "alerts"))
    assert len(message.embeds) <= sum(each.member is who for each in company.wishes)


async def _ask_by_menu(company: LeakGuild, step: Step) -> None:
    """Use "Find this map" on a message. There is one answer for each of its pictures."""
    post, who = _post(company, step), acting_member(company, step)
    asked = await company.discord.message_command(post.channel, who, "Find this map", post.message)
    message = await wait_for_answer(company, asked)
    pieces = [each.piece for each in company.posts if each.message is post.message]
    await eventually(lambda: sum(bool(each.embeds) for each in asked.followups.values()) == len(pieces) - 1)
    for shown, piece in zip([message, *list(asked.followups.values())], pieces, strict=True):
        await check_completeness(company, asked, shown, piece, alone=not company.common)


async def _wish(company: LeakGuild, step: Step) -> None:
    """Search for a piece that may not have been posted yet, and set an alert for it."""
    message = await _ask(company, step, piece=PIECES)
    if any(each.label == ALERT_LABEL for each in list_buttons(message.components)):
        await press_label(company, message, acting_member(company, step), ALERT_LABEL, PIECES)


async def _press(company: LeakGuild, step: Step, *, by: Member | None = None) -> None:
    """Press a button of an earlier answer as it looks now. Answers are counted from the last one."""
    asked = company.answers[-1 - step.which % len(company.answers)] if company.answers else None
    messages = [each for each in (asked.original, *asked.followups.values()) if each is not None] if asked else []
    labels = [each.label for message in messages[:1] for each in list_buttons(message.components) if each.custom_id]
    if asked is not None and labels:
        await press_label(company, messages[0], by or acting_member(company, step), labels[step.where % len(labels)])


async def _press_own(company: LeakGuild, step: Step) -> None:
    """Press a button of an earlier answer as its asker."""
    if company.answers:
        await _press(company, step, by=company.answers[-1 - step.which % len(company.answers)].member)


async def _forge(company: LeakGuild, step: Step) -> None:
    """Press a forged button with the id of another search, of this guild or another one, which no Discord client would do."""
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


async def _post_again(company: LeakGuild, step: Step) -> None:
    """Post a piece now. Everybody with an alert for it who may read it must be notified."""
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


def _first_piece_of(company: LeakGuild, post: PostedPicture) -> int:
    return next(each.piece for each in company.posts if each.message is post.message)


STEPS: dict[str, Callable[[LeakGuild, Step], Awaitable[object]]] = {
    "image": _ask,
    "link": _ask_by_link,
    "address": _ask_by_address,
    "words": _ask_by_words,
    "alerts": _list_alerts,
    "menu": _ask_by_menu,
    "wish": _wish,
    "press": _press,
    "old": _press_own,
    "forge": _forge,
    "post": _post_again,
    **CHANGE_STEPS,
}
