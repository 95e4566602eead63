"""`mapseek audit`: is every image where it should be?"""

from rich.console import Console

from pipeline.audit.auditing import Sources, audit
from pipeline.audit.chain import Scope
from pipeline.audit.index import FEATURES, VECTORS
from pipeline.audit.shown import as_json, show
from pipeline.commands.looking import looking
from pipeline.settings import Settings
from stages.erase import GRACE

UNKNOWN_BOT = "Discord was not looked at: DISCORD_TOKEN is not set."
LEFT_OUT = "Discord was not looked at, as was asked for."


async def show_audit(
    settings: Settings, *, guild: str | None, use_discord: bool, whole: bool, json: bool, out: Console, err: Console
) -> int:
    """Print what was found. 1 while there is a gap."""
    async with looking(settings) as look:
        with err.status("auditing ...") as status:
            sources = Sources(
                Scope(look.client, look.generation, guild),
                look.catalogue,
                look.blobs,
                GRACE.total_seconds(),
                look.state,
                settings.channels,
                look.rest if use_discord else None,
                {FEATURES: look.folder / "features"} | ({} if settings.vectors == "atlas" else {VECTORS: look.folder / "vectors"}),
                whole,
                lambda what: status.update(f"auditing {what} ..."),
            )
            report = await audit(sources)
    if look.rest is None or not use_discord:
        report.notes.append(UNKNOWN_BOT if use_discord else LEFT_OUT)
    if json:
        out.print(as_json(report), soft_wrap=True, markup=False, highlight=False)
    else:
        show(report, out)
    return 0 if report.clean else 1
