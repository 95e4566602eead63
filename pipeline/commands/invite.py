"""`mapseek invite`: the link that adds the bot to a server."""

from rich.console import Console
from rich.table import Table

from infra.discord.invite import INTENTS, PERMISSIONS, application_of, invite_link
from pipeline.settings import Settings, require_token


def show_invite(settings: Settings, guild: int | None, out: Console) -> None:
    """Print the link, and what it asks for. Raises MapSeekError where DISCORD_TOKEN is not set or is no token."""
    link = invite_link(application_of(require_token(settings)), guild)
    out.print(link, soft_wrap=True, markup=False, highlight=False)
    out.print(_table("Permission", PERMISSIONS))
    out.print(_table("Intent", INTENTS))


def _table(what: str, reasons: dict[str, str]) -> Table:
    table = Table(what, "What for", box=None, pad_edge=False)
    for name, reason in reasons.items():
        table.add_row(name.replace("_", " "), reason)
    return table
