"""What each stage is given to work with."""

from collections.abc import Awaitable, Callable
from typing import Any

from contracts.errors import MapSeekError
from contracts.ports import BlobStore
from contracts.stage import Stage
from infra.clip.calibration import calibration_of_encoder, text_calibration_of
from infra.nats.erasure import LogErasure
from infra.nats.posts import LogPosts
from pipeline.clock import utc_now
from pipeline.generations import active_generation, generation_for
from pipeline.wiring import Wiring
from stages import alert, download, embed, erase, judge, link, match, notify, persist, preprocess, remove, reply


async def dependencies(stage: Stage[Any], family: str, wiring: Wiring) -> object:
    """The dependencies of a stage in one lane, opened if need be. Raises MapSeekError where one cannot be."""
    return await _OF[stage.name](wiring, family)


async def _pictures(wiring: Wiring, family: str) -> BlobStore:
    """What people ask with is kept apart from the archive, since it goes after a week."""
    return await (wiring.questions() if family == "search" else wiring.blobs())


async def _download(wiring: Wiring, family: str) -> download.Deps:
    return download.Deps(await wiring.downloader(), await _pictures(wiring, family))


async def _preprocess(wiring: Wiring, family: str) -> preprocess.Deps:
    return preprocess.Deps(await _pictures(wiring, family), wiring.settings.max_pixels)


async def _embed(wiring: Wiring, family: str) -> embed.Deps:
    encoder = await wiring.encoder()
    generation = await generation_for(wiring.client, wiring.journal, encoder.encoder, preprocess.PREPROCESSING)
    return embed.Deps(await _pictures(wiring, family), encoder, generation, text_calibration_of(encoder.encoder.id))


async def _persist(wiring: Wiring, _: str) -> persist.Deps:
    return persist.Deps(await wiring.catalogue())


async def _link(wiring: Wiring, _: str) -> link.Deps:
    active = await active_generation(wiring.client)
    if active is None:
        raise MapSeekError("Linking reposts needs to know the model first: start the embed stage before the link stage.")
    return link.Deps(await wiring.vectors(), await wiring.catalogue(), calibration_of_encoder(active.encoder))


async def _match(wiring: Wiring, _: str) -> match.Deps:
    return match.Deps(await wiring.vectors(), await wiring.catalogue())


async def _judge(wiring: Wiring, _: str) -> judge.Deps:
    return judge.Deps(wiring.journal)


async def _alert(wiring: Wiring, _: str) -> alert.Deps:
    return alert.Deps(wiring.journal, await wiring.alerts(), await wiring.vectors())


async def _notify(wiring: Wiring, _: str) -> notify.Deps:
    return notify.Deps(
        await wiring.notifying(), await wiring.state(), await wiring.catalogue(), wiring.journal, await wiring.alerts(), utc_now
    )


async def _remove(wiring: Wiring, _: str) -> remove.Deps:
    return remove.Deps(LogPosts(wiring.client), LogErasure(wiring.client))


async def _erase(wiring: Wiring, _: str) -> erase.Deps:
    return erase.Deps(await wiring.catalogue(), await wiring.blobs(), LogErasure(wiring.client), wiring.policy.blob_grace)


async def _reply(wiring: Wiring, _: str) -> reply.Deps:
    return reply.Deps(await wiring.answering(), await wiring.catalogue(), await wiring.blobs(), wiring.journal, utc_now)


_OF: dict[str, Callable[[Wiring, str], Awaitable[object]]] = {
    "download": _download,
    "preprocess": _preprocess,
    "embed": _embed,
    "persist": _persist,
    "link": _link,
    "match": _match,
    "reply": _reply,
    "judge": _judge,
    "alert": _alert,
    "notify": _notify,
    "remove": _remove,
    "erase": _erase,
}
