"""`mapseek sweep`: blobs that nobody needs any more go."""

from rich.console import Console

from infra.blobs.files import open_blob_store
from pipeline.audit.blobs import orphans
from pipeline.commands.looking import looking
from pipeline.container import AGE_S, old_pictures
from pipeline.settings import Settings
from stages.erase import GRACE


async def sweep_blobs(settings: Settings, *, dry_run: bool, out: Console) -> int:
    """Delete the blobs that no image needs, and the pictures of questions that the log has dropped."""
    grace_s = GRACE.total_seconds()
    async with looking(settings) as look:
        questions = open_blob_store(look.folder / "questions")
        unused = await orphans(look.client, look.blobs, look.catalogue, grace_s)
        old = await old_pictures(look.client, questions, AGE_S)
        for store, names in ((look.blobs, unused), (questions, old)):
            for name in () if dry_run else names:
                if await store.untouched_for(name) > grace_s:  # nobody has put it in the meantime
                    await store.delete(name)
    for name in unused if dry_run else ():
        out.print(name, highlight=False)
    would = "would be deleted" if dry_run else "deleted"
    out.print(f"{len(unused)} blobs that no image needs and {len(old)} pictures of old questions {would}.", highlight=False)
    return 0
