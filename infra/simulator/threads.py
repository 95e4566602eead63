"""Threads and forum posts: opened, joined, archived, and woken by the next message."""

from datetime import timedelta

from contracts.errors import MapSeekError
from infra.simulator import places
from infra.simulator.errors import JSON
from infra.simulator.model import (
    FORUM,
    HAS_THREAD,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    TEXT,
    THREAD_STARTER,
    Channel,
    Member,
    Message,
)
from infra.simulator.permissions import Permission, permissions_in
from infra.simulator.world import World


def add_thread(
    world: World, parent: Channel, name: str, owner: Member, *, private: bool = False, message: Message | None = None
) -> Channel:
    """A thread in a text channel, or a post in a forum; one started from a message has its id.

    Raises MapSeekError where there can be none.
    """
    if parent.kind not in (TEXT, FORUM) or (parent.kind == FORUM and (private or message)) or (private and message):
        raise MapSeekError(f"#{parent.name} cannot have {'private' if private else 'public'} threads.")
    kind = PRIVATE_THREAD if private else PUBLIC_THREAD
    thread = Channel(message.id if message else world.new_id(None), parent.guild, name, kind=kind, parent=parent, owner=owner)
    thread.joined[owner.id] = world.clock()
    parent.guild.threads[thread.id] = world.channels[thread.id] = thread
    _tell(world, thread, "THREAD_CREATE", newly_created=True)
    if message is not None:
        _start_from(world, thread, message, owner)
    return thread


def join(world: World, thread: Channel, member: Member) -> None:
    """Somebody joins a thread, or is added to a private one. Raises MapSeekError if Discord would not allow it."""
    parent = thread.parent
    if parent is None or Permission.VIEW_CHANNEL not in permissions_in(parent, member):
        raise MapSeekError(f"{member.user.name} cannot join #{thread.name} without seeing the channel it is in.")
    if thread.archived:
        raise MapSeekError(f"#{thread.name} is archived: nobody can join it until it is open again.")
    if member.id in thread.joined:
        return
    thread.joined[member.id] = world.clock()
    if member.user is world.bot:
        if thread.private:
            _tell(world, thread, "THREAD_CREATE")
        _tell_members(world, thread, {"added_members": [places.thread_member(thread, member.id)]})


def leave(world: World, thread: Channel, member: Member) -> None:
    """Somebody leaves a thread, or is taken out of it."""
    if thread.joined.pop(member.id, None) is not None and member.user is world.bot:
        _tell_members(world, thread, {"removed_member_ids": [str(member.id)]})


def set_archived(world: World, thread: Channel, *, archived: bool, locked: bool = False) -> None:
    """Archive a thread or open it again. No two threads of a guild are archived at the same moment: pages go by it."""
    others = [each.archive_changed_at for each in thread.guild.threads.values() if each.archive_changed_at is not None]
    thread.archived, thread.locked = archived, locked
    thread.archive_changed_at = max([world.clock(), *(each + timedelta(microseconds=1) for each in others)])
    _tell(world, thread, "THREAD_UPDATE")


def enter(world: World, thread: Channel, member: Member) -> None:
    """What a message does to the thread it is posted in: it is open again, and the author a member."""
    if thread.archived:
        set_archived(world, thread, archived=False, locked=thread.locked)
    if member.id not in thread.joined and permissions_in(thread, member):
        join(world, thread, member)


def _start_from(world: World, thread: Channel, message: Message, owner: Member) -> None:
    """What Discord writes when a thread is started from a message: a first message in it, and a mark on that other one."""
    starter = world.new_message(thread, owner.user)
    starter.kind, starter.reference = THREAD_STARTER, message
    world.create_message(starter)
    message.flags |= HAS_THREAD
    world.announce(message, "MESSAGE_UPDATE")


def _tell(world: World, thread: Channel, event: str, **more: object) -> None:
    if world.bot_may(thread, Permission.VIEW_CHANNEL):
        world.tell(thread.guild, event, {**places.thread(thread, world.me(thread.guild)), **more})


def _tell_members(world: World, thread: Channel, change: JSON) -> None:
    shared = {"id": str(thread.id), "guild_id": str(thread.guild.id), "member_count": min(len(thread.joined), 50)}
    world.tell(thread.guild, "THREAD_MEMBERS_UPDATE", {**shared, **change})
