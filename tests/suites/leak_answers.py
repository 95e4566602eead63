"""Answers in a run of the leak suite: waited for, pressed, and turned page by page until all that must be found is found."""

import re

from infra.discord.wording import say
from infra.sandbox.simulator import Interaction, Member, Message
from infra.sandbox.simulator.client import buttons_of
from tests.suites.leak_plans import All
from tests.suites.leak_play import Company, Wish, is_adult
from tests.suites.leaks import Posted, may_read, seen
from tests.suites.waiting import eventually

EN = "en-US"
BUSY = "…"
"""How every line ends that says at what a search is."""
NEXT, ALERT = (say(EN, f"answers-button-{name}") for name in ("next", "alert"))
COUNTED = re.compile(say(EN, "answers-button-posts", count=77).replace("77", r"(\d+)"))


async def answered(company: Company, interaction: Interaction) -> Message:
    """The answer, once it says more than at what the search is."""
    company.answers.append(interaction)
    company.ledger.answers.append(interaction)

    def done() -> bool:
        message = interaction.original
        waiting = message is None or interaction.answered_after_s is None or (not message.embeds and message.content.endswith(BUSY))
        return not waiting

    await eventually(done)
    assert interaction.original is not None
    return interaction.original


async def push(company: Company, message: Message, who: Member, label: str, piece: int | None = None) -> Message:
    """Press a button. Asking to be told of a picture is remembered with it, where it is known which one that is."""
    if label == ALERT:
        told = len(company.discord.direct_messages(who))
        company.wishes.append(Wish(who, piece, is_adult(message.channel), told))
    return await answered(company, await company.discord.press(message, who, label=label))


def _is_plain(post: Posted) -> bool:
    """Whether no setting keeps anybody in the guild from reading a post."""
    room, everyone = post.channel.parent or post.channel, post.guild.everyone.permissions
    return not post.channel.private and not room.overwrites and everyone & All == All


async def complete(company: Company, asked: Interaction, message: Message, piece: int, *, alone: bool) -> None:
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
    for button in buttons_of(message.components):
        if number := COUNTED.fullmatch(button.label):
            counted = int(number[1])
            message = await push(company, message, who, button.label)
            told |= _told(company, message, piece)
            while any(each.label == NEXT and not each.disabled for each in buttons_of(message.components)):
                message = await push(company, message, who, NEXT)
                told |= _told(company, message, piece)
    assert wanted <= told, f"not shown to {who.user.name}: {[post.message.jump_url for post in wanted - told]}"
    assert counted in (None, len(told)), f"{counted} posts are counted, but these are told: {sorted(each.number for each in told)}"


def _told(company: Company, message: Message, piece: int) -> set[Posted]:
    shown = seen(message, ())
    return {post for post in company.posts if post.piece == piece and shown.tells_of(post)}
