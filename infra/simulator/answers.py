"""What a member sees after a command or a press: the answer with its buttons."""

from dataclasses import dataclass

from infra.simulator import components, payloads
from infra.simulator.embeds import Sign
from infra.simulator.errors import JSON
from infra.simulator.model import EPHEMERAL, Interaction, Message
from infra.simulator.world import Upload


@dataclass(frozen=True, slots=True)
class Button:
    """A button as it looks. A link has a `url`, any other a `custom_id`."""

    label: str
    disabled: bool
    url: str | None
    style: int
    custom_id: str | None
    emoji: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the asker sees, at the moment of looking. `attachments` are (name, content), embedded ones included; `message` is live.

    `edits` counts those of the first response, by the interaction that was asked about; `answered_after_s` is the last one's time.
    """

    content: str
    embeds: list[JSON]
    attachments: list[Upload]
    flags: int
    edits: int
    deferred_after_s: float | None
    answered_after_s: float
    components: list[JSON]
    message: Message

    @property
    def ephemeral(self) -> bool:
        """Whether only the asker sees it."""
        return bool(self.flags & EPHEMERAL)

    @property
    def buttons(self) -> dict[str, Button]:
        """The buttons in order, by custom id or, for a link, by URL."""
        return {button.custom_id or button.url or "": button for button in buttons_of(self.components)}


def seen(message: Message, interaction: Interaction, answered_after_s: float, sign: Sign) -> Answer:
    """A message that an interaction led to, as it is now."""
    payload = payloads.message(message, sign)
    return Answer(
        content=message.content,
        embeds=payload["embeds"],
        attachments=[(each.filename, each.data) for each in message.attachments],
        flags=message.flags,
        edits=interaction.edits,
        deferred_after_s=interaction.deferred_after_s,
        answered_after_s=answered_after_s,
        components=payload["components"],
        message=message,
    )


def buttons_of(rows: list[JSON]) -> list[Button]:
    """The buttons of a message, row by row."""
    return [
        Button(
            label=each.get("label") or "",
            disabled=bool(each.get("disabled")),
            url=each.get("url"),
            style=each["style"],
            custom_id=each.get("custom_id"),
            emoji=(each.get("emoji") or {}).get("name"),
        )
        for each in components.buttons(rows)
    ]
