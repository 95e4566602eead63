"""What people do in a run of the leak suite: they ask, press, post and change things, and find what they may read."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from contracts.errors import MapSeekError
from infra.discord.answers.buttons import BROWSE, custom_id
from infra.discord.wording import say
from infra.sandbox.simulator import Channel, Member, Message
from infra.sandbox.simulator.client import buttons_of
from infra.sandbox.simulator.model import EPHEMERAL
from tests.suites.leak_answers import ALERT, answered, complete, push
from tests.suites.leak_changes import CHANGES, actor
from tests.suites.leak_plans import PIECES, Step
from tests.suites.leak_play import Company, is_adult
from tests.suites.leaks import Posted, asked_with, may_read
from tests.suites.waiting import eventually

EN = "en-US"


async def take(company: Company, step: Step) -> None:
    """One step of a plan, to its end: whatever Discord itself does not allow is left out."""
    with suppress(MapSeekError):
        await STEPS[step.what](company, step)
    await company.settle()
    company.look()


def place_of(company: Company, step: Step) -> Channel:
    """Where it is done."""
    return company.spots[step.where % len(company.spots)]


async def _ask(company: Company, step: Step, piece: int | None = None) -> Message:
    """`/find image:`"""
    about = step.which % PIECES if piece is None else piece
    question = {"image": ("question.png", asked_with(about))}
    asked = await company.discord.slash(
        place_of(company, step), actor(company, step), "find", attachments=question, options={"private": step.flag}
    )
    message = await answered(company, asked)
    await complete(company, asked, message, about, alone=step.flag)
    return message


async def _ask_by_link(company: Company, step: Step) -> None:
    """`/find link:`, which works with exactly those messages that the asker may read from there."""
    post, place, who = _post(company, step), place_of(company, step), actor(company, step)
    options = {"link": post.message.jump_url, "private": step.flag}
    asked = await company.discord.slash(place, who, "find", options=options)
    message = await answered(company, asked)
    if post.there and may_read(post.channel, who, is_adult(place)):
        assert message.embeds, f"{who.user.name} may read {post.message.jump_url}, but: {message.content}"
        await complete(company, asked, message, _first_piece(company, post), alone=step.flag)
    else:
        assert (message.content, message.embeds) == (say(EN, "asking-link-missing"), [])


async def _ask_by_menu(company: Company, step: Step) -> None:
    """ "Find this map" on a message; one answer for each of its pictures."""
    post, who = _post(company, step), actor(company, step)
    asked = await company.discord.message_command(post.channel, who, "Find this map", post.message)
    message = await answered(company, asked)
    pieces = [each.piece for each in company.posts if each.message is post.message]
    await eventually(lambda: sum(bool(each.embeds) for each in asked.followups.values()) == len(pieces) - 1)
    for shown, piece in zip([message, *list(asked.followups.values())], pieces, strict=True):
        await complete(company, asked, shown, piece, alone=not company.common)


async def _wish(company: Company, step: Step) -> None:
    """Ask for a picture that may not have been posted yet, and to be told of it."""
    message = await _ask(company, step, piece=PIECES)
    if any(each.label == ALERT for each in buttons_of(message.components)):
        await push(company, message, actor(company, step), ALERT, PIECES)


async def _press(company: Company, step: Step, *, by: Member | None = None) -> None:
    """Any button of any answer so far, the last one being the first, as it looks by now."""
    asked = company.answers[-1 - step.which % len(company.answers)] if company.answers else None
    messages = [each for each in (asked.original, *asked.followups.values()) if each is not None] if asked else []
    labels = [each.label for message in messages[:1] for each in buttons_of(message.components) if each.custom_id]
    if asked is not None and labels:
        await push(company, messages[0], by or actor(company, step), labels[step.where % len(labels)])


async def _press_own(company: Company, step: Step) -> None:
    """The same, by the one who asked."""
    if company.answers:
        await _press(company, step, by=company.answers[-1 - step.which % len(company.answers)].member)


async def _forge(company: Company, step: Step) -> None:
    """Press a button with an id of somebody else's search, of this guild or another, as no client of Discord would."""
    who = actor(company, step)
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
    forged = custom_id(BROWSE, str(victim.id), str(asker.id), view, str(step.where % 2), "0")
    before = message.components
    message.components = [{"type": 1, "id": 1, "components": [{"type": 2, "id": 2, "style": 2, "label": "x", "custom_id": forged}]}]
    try:
        pressed = await company.discord.press(message, who, forged)
    finally:
        message.components = before
    await answered(company, pressed)


async def _more(company: Company, step: Step) -> None:
    """Another post, now. Whoever waits for it and may read it is told."""
    piece, spot = step.which % (PIECES + 1), place_of(company, step)
    direct = company.discord.direct_messages
    waiting = [each for each in company.wishes if each.piece == piece and len(direct(each.member)) == each.before]
    await company.post(spot, [piece], None)
    await company.settle()
    message = company.posts[-1].message
    for wish in waiting:
        if wish.member.id not in company.silent and may_read(spot, wish.member, wish.adults):
            company.ledger.required += 1
            assert message.jump_url in direct(wish.member)[-1].content


def _post(company: Company, step: Step) -> Posted:
    return company.posts[step.which % len(company.posts)]


def _first_piece(company: Company, post: Posted) -> int:
    return next(each.piece for each in company.posts if each.message is post.message)


STEPS: dict[str, Callable[[Company, Step], Awaitable[object]]] = {
    "image": _ask,
    "link": _ask_by_link,
    "menu": _ask_by_menu,
    "wish": _wish,
    "press": _press,
    "old": _press_own,
    "forge": _forge,
    "post": _more,
    **CHANGES,
}
