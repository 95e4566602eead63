"""Guilds, channels, threads and roles as demo and tests change them. The bot learns of it as Discord would tell it."""

from collections.abc import Collection, Sequence

from infra.simulator import channels, threads
from infra.simulator.model import CATEGORY, FORUM, TEXT, Channel, Guild, Member, Message, Overwrite, Role
from infra.simulator.permissions import DEFAULT, Permission
from infra.simulator.world import World


class Structure:
    """The part of the simulator that builds, rearranges and takes away."""

    _world: World

    def me(self, guild: Guild) -> Member:
        """The bot as a member of a guild, to aim an overwrite or a role at."""
        return self._world.me(guild)

    def add_guild(self, name: str, *, everyone: Permission = DEFAULT) -> Guild:
        """A guild that the bot is in; `everyone` are the permissions of @everyone."""
        return self._world.add_guild(name, everyone)

    def add_role(self, guild: Guild, name: str, permissions: Permission = Permission.NONE) -> Role:
        """A role that grants permissions everywhere in a guild."""
        return self._world.add_role(guild, name, permissions)

    def add_member(self, guild: Guild, name: str, roles: Sequence[Role] = (), *, same_as: Member | None = None) -> Member:
        """A person in a guild; `same_as` is the same person in another guild."""
        return self._world.add_member(guild, name, roles, None if same_as is None else same_as.user)

    def add_text_channel(
        self,
        guild: Guild,
        name: str,
        overwrites: Sequence[Overwrite] = (),
        *,
        category: Channel | None = None,
        nsfw: bool = False,
    ) -> Channel:
        """A text channel; `nsfw` makes it age-restricted."""
        return channels.add_channel(self._world, guild, name, TEXT, overwrites, category, nsfw)

    def add_forum(
        self,
        guild: Guild,
        name: str,
        overwrites: Sequence[Overwrite] = (),
        *,
        category: Channel | None = None,
        nsfw: bool = False,
    ) -> Channel:
        """A forum, whose threads are its posts."""
        return channels.add_channel(self._world, guild, name, FORUM, overwrites, category, nsfw)

    def add_category(self, guild: Guild, name: str, overwrites: Sequence[Overwrite] = ()) -> Channel:
        """A heading above channels."""
        return channels.add_channel(self._world, guild, name, CATEGORY, overwrites, None, False)

    async def add_thread(
        self,
        parent: Channel,
        name: str,
        *,
        owner: Member | None = None,
        private: bool = False,
        archived: bool = False,
        message: Message | None = None,
    ) -> Channel:
        """A thread of a text channel, or a post of a forum, by its owner (None: the guild's).

        The first message posted in a forum post has the post's own id, and a thread started from a `message` has that one's, as on
        Discord. Raises MapSeekError where there can be no such thread.
        """
        author = owner or parent.guild.members[parent.guild.owner_id]
        thread = threads.add_thread(self._world, parent, name, author, private=private, message=message)
        if archived:
            threads.set_archived(self._world, thread, archived=True)
        return thread

    async def join_thread(self, thread: Channel, member: Member) -> None:
        """Add a person or the bot to a thread. Raises MapSeekError if Discord would not allow it."""
        threads.join(self._world, thread, member)

    async def leave_thread(self, thread: Channel, member: Member) -> None:
        """Take a person or the bot out of a thread."""
        threads.leave(self._world, thread, member)

    async def archive_thread(self, thread: Channel, *, locked: bool = False) -> None:
        """Archive a thread; the next message posted there opens it again. The bot cannot open a locked one."""
        threads.set_archived(self._world, thread, archived=True, locked=locked)

    async def set_overwrites(self, channel: Channel, overwrites: Sequence[Overwrite]) -> None:
        """Replace a channel's overwrites; channels of a category follow it as long as theirs are the same."""
        channels.set_overwrites(self._world, channel, overwrites)

    async def set_roles(self, member: Member, roles: Sequence[Role]) -> None:
        """Replace a member's roles."""
        channels.set_roles(self._world, member, roles)

    async def remove_member(self, member: Member) -> None:
        """A person leaves a guild. No event tells: that takes the members intent."""
        channels.remove_member(member)

    async def set_age_restricted(self, channel: Channel, nsfw: bool) -> None:
        """Make a channel one for adults only, or no longer."""
        channels.set_age_restricted(self._world, channel, nsfw)

    async def edit_role(self, role: Role, permissions: Permission) -> None:
        """Change what a role grants."""
        guild = next(each for each in self._world.guilds.values() if role.id in each.roles)
        channels.edit_role(self._world, guild, role, permissions)

    async def delete_channel(self, channel: Channel) -> None:
        """Delete a channel with its threads, or one thread."""
        channels.delete_channel(self._world, channel)

    async def bulk_delete(self, messages: Collection[Message]) -> None:
        """Delete messages at once, as moderators' bots do."""
        channels.bulk_delete(self._world, messages)

    async def remove_guild(self, guild: Guild) -> None:
        """Kick the bot out of a guild."""
        channels.remove_guild(self._world, guild)

    async def invite_bot(self, guild: Guild) -> None:
        """Take the bot into a guild again that it was kicked out of."""
        channels.invite_bot(self._world, guild)

    async def set_unavailable(self, guild: Guild, unavailable: bool = True) -> None:
        """Let a guild drop out, as in an outage, or come back."""
        channels.set_unavailable(self._world, guild, unavailable)
