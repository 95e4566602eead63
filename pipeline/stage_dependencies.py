"""What each stage is given to work with.

Drawing why an archived picture was found, from what the log and the stores know of both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from contracts.errors import Reject, RejectCode, Unavailable
from contracts.events import Evidence
from contracts.generations import Generation
from contracts.ports import BlobStore
from contracts.stage import Stage
from infra.clip.calibration import calibration_of_encoder, text_calibration_of
from infra.discord.answers.embeds import explanation_captions
from infra.nats.erasure import LogErasure
from infra.nats.reader import LogPosts
from pipeline.clock import utc_now
from pipeline.container import Wiring
from pipeline.generations.lifecycle import refuse_unknown_method, refuse_unknown_version
from stages import alert, download, embed, erase, fingerprint, judge, link, match, notify, persist, preprocess, remove, reply
from stages.matching import Explaining, Prints


async def explaining(wiring: Wiring) -> Explaining:
    """Draws what this process answered, and what any other did."""
    return Explaining(wiring.journal, await wiring.questions(), await wiring.blobs(), _drawn)


async def _drawn(
    asked: bytes, archived: bytes, asked_print: bytes, archived_print: bytes, evidence: Evidence, locale: str
) -> bytes:
    # Deferred: only a process that looks into pictures pays for importing OpenCV.
    from infra.vision.explain import Captions, explanation

    captions = Captions(*explanation_captions(locale))
    return await asyncio.to_thread(explanation, asked, archived, asked_print, archived_print, evidence, captions)


async def dependencies(stage: Stage[Any], family: str, wiring: Wiring, generation: Generation | None = None) -> object:
    """The dependencies of a stage in one lane, or for one generation there, opened if need be.

    Raises MapSeekError where one cannot be.
    """
    if generation is not None:
        return await _OF_GENERATION[stage.name](wiring, family, generation)
    return await _OF[stage.name](wiring, family)


async def _pictures(wiring: Wiring, family: str) -> BlobStore:
    """What people ask with is kept apart from the archive, since it goes after a week."""
    return await (wiring.questions() if family == "search" else wiring.blobs())


async def _download(wiring: Wiring, family: str) -> download.Deps:
    return download.Deps(await wiring.downloader(), await _pictures(wiring, family))


async def _preprocess(wiring: Wiring, family: str) -> preprocess.Deps:
    """An image is preprocessed for every generation that lives, a question for the one that answers."""
    generations = await wiring.generations()

    def needed() -> tuple[Generation, ...]:
        now = generations.now
        return now.alive if family == "image" else tuple(filter(None, [now.active]))

    def versions() -> Sequence[str]:
        return tuple(dict.fromkeys(each.preprocessing for each in needed())) or (preprocess.PREPROCESSING,)

    for each in needed():
        refuse_unknown_version(each)
    return preprocess.Deps(await _pictures(wiring, family), versions, wiring.settings.max_pixels)


async def _fingerprint(wiring: Wiring, family: str) -> fingerprint.Deps:
    """A question is compared by the method of the generation that answers."""
    generations = await wiring.generations()
    if (active := generations.now.active) is not None:
        refuse_unknown_method(active)

    def method() -> str:
        active = generations.now.active
        return active.fingerprint if active else fingerprint.METHOD

    return fingerprint.Deps(await _pictures(wiring, family), await wiring.fingerprinting(), wiring.journal, method)


async def _fingerprint_in(wiring: Wiring, family: str, generation: Generation) -> fingerprint.Deps:
    refuse_unknown_method(generation)
    generations = await wiring.generations()

    def alike(name: str) -> bool:
        other = generations.now.known.get(name)
        return other is not None and other.preprocessing == generation.preprocessing

    return fingerprint.Deps(
        await _pictures(wiring, family),
        await wiring.fingerprinting(),
        wiring.journal,
        lambda: generation.fingerprint,
        generation.name,
        alike,
    )


async def _embed(wiring: Wiring, family: str) -> embed.Deps:
    """Questions are embedded in the newest activated generation whose encoder is open here: a model takes seconds to load."""
    # Deferred: only a process that looks into pictures pays for importing OpenCV.
    from infra.vision.rectify import views_in

    generations, pictures = await wiring.generations(), await _pictures(wiring, family)

    def answering(preprocessing: str | None) -> embed.Hosted:
        now = generations.now
        fitting = [
            name
            for name in reversed(now.activations)
            if now.serves(name) and preprocessing in (None, now.known[name].preprocessing)
        ]
        for name in fitting:
            if (encoder := wiring.encoders.of(name)) is not None:
                return embed.Hosted(name, encoder, text_calibration_of(encoder.encoder.id))
        if now.active is not None and not fitting:
            raise Reject(RejectCode.INTERNAL, "MapSeek has just switched to a new model. Please search again.")
        raise Unavailable("the encoder", "no generation that answers is loaded here yet")

    return embed.Deps(pictures, answering, views=views_in)


async def _embed_in(wiring: Wiring, family: str, generation: Generation) -> embed.Deps:
    refuse_unknown_version(generation)
    hosted = embed.Hosted(generation.name, await wiring.encoders.open(generation))
    pictures = await (wiring.questions() if family == "alert" else _pictures(wiring, family))
    again = partial(preprocess.preprocessed_again, version=generation.preprocessing, max_pixels=wiring.settings.max_pixels)
    return embed.Deps(pictures, lambda _: hosted, again)


async def _persist(wiring: Wiring, _: str, __: Generation | None = None) -> persist.Deps:
    return persist.Deps(await wiring.catalogue())


async def _link_in(wiring: Wiring, _: str, generation: Generation) -> link.Deps:
    vectors, catalogue, generations = await wiring.vectors(), await wiring.catalogue(), await wiring.generations()
    calibration, prints = calibration_of_encoder(generation.encoder), await prints_of(wiring)
    return link.Deps(wiring.journal, vectors, catalogue, prints, calibration, lambda: generations.now.serves(generation.name))


async def _match(wiring: Wiring, _: str) -> match.Deps:
    return match.Deps(await wiring.vectors(), await wiring.catalogue(), await wiring.questions(), await prints_of(wiring))


async def prints_of(wiring: Wiring) -> Prints:
    """What pictures are verified by."""
    # Deferred: only a process that looks into pictures pays for importing OpenCV.
    from infra.vision.compare import Comparer

    return Prints(await wiring.features(), Comparer(), await wiring.blobs())


async def _judge(wiring: Wiring, _: str) -> judge.Deps:
    return judge.Deps(wiring.journal)


async def _alert(wiring: Wiring, _: str, __: Generation | None = None) -> alert.Deps:
    generations = await wiring.generations()
    return alert.Deps(wiring.journal, await wiring.alerts(), await wiring.vectors(), lambda: generations.now)


async def _notify(wiring: Wiring, _: str) -> notify.Deps:
    return notify.Deps(
        await wiring.notifying(), await wiring.state(), await wiring.catalogue(), wiring.journal, await wiring.alerts(), utc_now
    )


async def _remove(wiring: Wiring, _: str) -> remove.Deps:
    return remove.Deps(LogPosts(wiring.client), LogErasure(wiring.client))


async def _erase(wiring: Wiring, _: str) -> erase.Deps:
    return erase.Deps(await wiring.catalogue(), await wiring.blobs(), LogErasure(wiring.client), wiring.policy.blob_grace)


async def _reply(wiring: Wiring, _: str) -> reply.Deps:
    catalogue, blobs, explain = await wiring.catalogue(), await wiring.blobs(), await explaining(wiring)
    return reply.Deps(await wiring.answering(), catalogue, blobs, wiring.journal, explain, utc_now)


_OF: dict[str, Callable[[Wiring, str], Awaitable[object]]] = {
    "download": _download,
    "preprocess": _preprocess,
    "fingerprint": _fingerprint,
    "embed": _embed,
    "persist": _persist,
    "match": _match,
    "reply": _reply,
    "judge": _judge,
    "alert": _alert,
    "notify": _notify,
    "remove": _remove,
    "erase": _erase,
}

_OF_GENERATION: dict[str, Callable[[Wiring, str, Generation], Awaitable[object]]] = {
    "fingerprint": _fingerprint_in,
    "embed": _embed_in,
    "persist": _persist,
    "link": _link_in,
    "alert": _alert,
}
