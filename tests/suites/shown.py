"""Reading an answer as the one who asked sees it: its headline, where it leads, its words and its buttons."""

from infra.sandbox.simulator import Answer


def headline(answer: Answer) -> str:
    """The title of an answer; an answer is one embed."""
    [embed] = answer.embeds
    return str(embed["title"])


def link(answer: Answer) -> str | None:
    """Where the headline leads: to the first post of the piece."""
    [embed] = answer.embeds
    return embed.get("url")


def words(answer: Answer) -> str:
    """Everything that there is to read in an answer."""
    [embed] = answer.embeds
    footer = embed.get("footer", {}).get("text", "")
    return "\n".join(part for part in (answer.content, embed["title"], embed.get("description", ""), footer) if part)


def lines(answer: Answer) -> list[str]:
    """The lines under the headline."""
    [embed] = answer.embeds
    return str(embed.get("description", "")).split("\n")


def labels(answer: Answer) -> list[str]:
    """What stands on the buttons that can be pressed."""
    return [button.label for button in answer.buttons.values() if not button.disabled]
