"""What changes in a run of the leak suite: overwrites, roles, who is in a thread or in the guild, and what there is at all."""

from collections.abc import Awaitable, Callable

from infra.sandbox.simulator import Channel, Member, Overwrite, Permission
from tests.suites.leak_plans import GRANTED, Step
from tests.suites.leak_play import Company, overwrites


def actor(company: Company, step: Step) -> Member:
    """Who does it."""
    return company.people[step.who]


async def _set_rules(company: Company, step: Step) -> None:
    await company.discord.set_overwrites(_room(company, step), overwrites(company, step.rules))


async def _hide(company: Company, step: Step) -> None:
    room, everyone = _room(company, step), company.guild.everyone
    others = [each for each in room.overwrites if each.target is not everyone]
    await company.discord.set_overwrites(room, [Overwrite(everyone, deny=Permission.VIEW_CHANNEL), *others])


async def _give_roles(company: Company, step: Step) -> None:
    roles = [role for number, role in enumerate(company.roles) if step.which >> number & 1]
    await company.discord.set_roles(actor(company, step), roles)


async def _grant(company: Company, step: Step) -> None:
    await company.discord.edit_role(company.roles[step.where % len(company.roles)], GRANTED[step.which % len(GRANTED)])


async def _restrict(company: Company, step: Step) -> None:
    await company.discord.set_age_restricted(_room(company, step), step.flag)


async def _kick(company: Company, step: Step) -> None:
    for thread in _threads(company, step):
        await company.discord.leave_thread(thread, actor(company, step))


async def _join(company: Company, step: Step) -> None:
    for thread in _threads(company, step):
        await company.discord.join_thread(thread, actor(company, step))


async def _archive(company: Company, step: Step) -> None:
    for thread in _threads(company, step):
        await company.discord.archive_thread(thread)


async def _delete(company: Company, step: Step) -> None:
    """Not the first channel, so that there is always one."""
    there = [*company.rooms[1:], *(each for each in company.threads if each in company.spots)]
    chosen = there[step.where % len(there)]
    if chosen.id in {**company.guild.channels, **company.guild.threads}:
        await company.discord.delete_channel(chosen)


async def _leave(company: Company, step: Step) -> None:
    who = actor(company, step)
    if who.id != company.guild.owner_id and who.id in company.guild.members:
        await company.discord.remove_member(who)


def _room(company: Company, step: Step) -> Channel:
    there = [each for each in company.rooms if each.id in company.guild.channels]
    return there[step.where % len(there)]


def _threads(company: Company, step: Step) -> list[Channel]:
    """The thread that is meant, if there is any."""
    there = [each for each in company.threads if each.id in company.guild.threads]
    return there[step.where % len(there) :][:1] if there else []


CHANGES: dict[str, Callable[[Company, Step], Awaitable[object]]] = {
    "rules": _set_rules,
    "hide": _hide,
    "roles": _give_roles,
    "grant": _grant,
    "kick": _kick,
    "join": _join,
    "archive": _archive,
    "adults": _restrict,
    "delete": _delete,
    "leave": _leave,
}
