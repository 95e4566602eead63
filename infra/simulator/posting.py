"""Messages as members post, change and delete them. No limit is enforced, so that what old or odd clients left can be had too."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from infra.simulator import threads
from infra.simulator.direct import conversation
from infra.simulator.errors import JSON
from infra.simulator.model import FORUM, HAS_SNAPSHOT, Attachment, Channel, Member, Message
from infra.simulator.world import Upload, World


class Posting:
    """The part of the simulator that writes messages."""

    _world: World

    async def post(
        self,
        channel: Channel,
        author: Member,
        content: str = "",
        *,
        files: Sequence[Upload] = (),
        embeds: Sequence[JSON] = (),
        at: datetime | None = None,
        reference: Message | None = None,
        snapshot: bool = False,
    ) -> Message:
        """Post as a member, now or in the past, also in a thread or a forum's post, which a message of now opens again.

        `reference` is the message that is replied to or, with `snapshot`, forwarded.
        """
        world = self._world
        if channel.is_thread and at is None:
            threads.enter(world, channel, author)
        message = world.new_message(channel, author.user, at)
        if channel.parent is not None and channel.parent.kind == FORUM and not channel.messages and at is None:
            message.id = channel.id
        message.content, message.embeds, message.reference = content, list(embeds), reference
        message.attachments = [world.upload(f"attachments/{channel.id}", name, data) for name, data in files]
        if reference is not None and snapshot:
            message.snapshot, message.flags = _copy(reference), HAS_SNAPSHOT
        world.create_message(message)
        return message

    async def edit(
        self,
        message: Message,
        *,
        content: str | None = None,
        embeds: Sequence[JSON] | None = None,
        attachments: Sequence[Attachment] | None = None,
    ) -> None:
        """Change the text or which attachments are kept, as the author does, or the embeds alone, as Discord does with links."""
        if content is not None:
            message.content, message.edited_at = content, self._world.clock()
        if embeds is not None:
            message.embeds = list(embeds)
        if attachments is not None:
            for dropped in [each for each in message.attachments if each not in attachments and not each.forwarded]:
                self._world.cdn.forget(dropped)
            message.attachments = [each for each in message.attachments if each in attachments]
            message.edited_at = self._world.clock()
        self._world.announce(message, "MESSAGE_UPDATE")

    async def delete(self, message: Message) -> None:
        """Delete a message with its files."""
        self._world.delete_message(message)

    async def redeliver(self, message: Message) -> None:
        """Send MESSAGE_CREATE once more for a message."""
        self._world.announce(message, "MESSAGE_CREATE")

    def direct_messages(self, member: Member) -> list[Message]:
        """What a person and the bot have written to each other, oldest first."""
        channel = self._world.direct.get(member.id)
        return [] if channel is None else channel.before(None, len(channel.messages))[::-1]

    def direct_channel(self, member: Member) -> Channel:
        """The conversation between a person and the bot, to post or ask in."""
        return conversation(self._world, member.user)

    def close_dms(self, member: Member) -> None:
        """A person no longer takes direct messages: sending one is refused with code 50007."""
        self._world.closed_to_the_bot.add(member.id)


def _copy(message: Message) -> Message:
    """A message as it is now; its files stay, whatever becomes of it."""
    for attachment in message.attachments:
        attachment.forwarded = True
    return replace(message, attachments=list(message.attachments), embeds=list(message.embeds), reactions={}, reference=None)
