"""Direct messages between one person and the bot. Such a conversation is in a guild of its own that nobody is told of."""

from infra.simulator.model import DIRECT, Channel, Guild, Member, Role, User
from infra.simulator.permissions import ALL, Permission
from infra.simulator.world import World


def conversation(world: World, account: User) -> Channel:
    """The one channel between a person and the bot, opened when first asked for."""
    if account.id not in world.direct:
        guild = Guild(world.new_id(None), "", account.id)
        guild.roles[guild.id] = Role(guild.id, "@everyone", Permission(ALL & ~Permission.ADMINISTRATOR), position=0)
        for each in (account, world.bot):
            guild.members[each.id] = Member(each, guild, [], world.clock())
        channel = Channel(world.new_id(None), guild, account.name, kind=DIRECT, recipient=account)
        world.direct[account.id] = world.channels[channel.id] = channel
    return world.direct[account.id]


def account(world: World, user_id: int) -> User | None:
    """The person with an id, in whatever guild, whether the bot is there or not."""
    places = [each.guild for each in world.channels.values()]
    found = (guild.members.get(user_id) for guild in (*world.guilds.values(), *places))
    return next((member.user for member in found if member is not None), None)


def reachable(world: World, person: User) -> bool:
    """Whether the bot may write to somebody: they take such messages, and share a guild with it."""
    return person.id not in world.closed_to_the_bot and any(person.id in guild.members for guild in world.guilds.values())
