"""Drawing why an archived picture was found, from what the log and the stores know of both."""

import asyncio

from contracts.events import Evidence
from pipeline.wiring import Wiring
from stages.matching import Explaining


async def explaining(wiring: Wiring) -> Explaining:
    """Draws what this process answered, and what any other did."""
    return Explaining(wiring.journal, await wiring.questions(), await wiring.blobs(), _drawn)


async def _drawn(asked: bytes, archived: bytes, asked_print: bytes, archived_print: bytes, evidence: Evidence) -> bytes:
    # Deferred: only a process that looks into pictures pays for importing OpenCV.
    from infra.vision.explain import explanation

    return await asyncio.to_thread(explanation, asked, archived, asked_print, archived_print, evidence)
