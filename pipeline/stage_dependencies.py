"""The dependencies of each stage, opened from the container."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from contracts.errors import Reject, RejectCode, Unavailable
from contracts.events import Evidence
from contracts.generations import Generation
from contracts.ports import BlobStore
from contracts.stage import Stage
from infra.clip.calibration import find_encoder_calibration, find_text_calibration
from infra.discord.answers.embeds import explanation_captions
from infra.nats.erasure import LogErasure
from infra.nats.reader import LogPosts
from pipeline.clock import utc_now
from pipeline.container import Container
from pipeline.generations.lifecycle import refuse_unknown_method, refuse_unknown_version
from stages import alert, download, embed, erase, fingerprint, judge, link, match, notify, persist, preprocess, remove, reply
from stages.matching import ArchiveFingerprints, MatchExplainer


async def build_explainer(container: Container) -> MatchExplainer:
    """Return the explainer of matches, of this process's answers and of those of other processes."""

    async def draw(
        asked: bytes, archived: bytes, asked_print: bytes, archived_print: bytes, evidence: Evidence, locale: str
    ) -> bytes:
        # Imported here: only a process that analyses pictures needs OpenCV.
        from infra.vision.explain import Captions, draw_explanation

        workers, captions = await container.query_workers(), Captions(*explanation_captions(locale))
        return await workers.run(draw_explanation, asked, archived, asked_print, archived_print, evidence, captions)

    return MatchExplainer(container.journal, await container.query_blobs(writes=False), await container.blobs(writes=False), draw)


async def open_dependencies(stage: Stage[Any], family: str, container: Container, generation: Generation | None = None) -> object:
    """Open the dependencies of a stage in one lane, or for one generation in that lane.

    Raises MapSeekError if one cannot be opened.
    """
    if generation is not None:
        return await _FOR_GENERATION[stage.name](container, family, generation)
    return await _FOR_LANE[stage.name](container, family)


async def _choose_blobs(container: Container, family: str, *, writes: bool = True) -> BlobStore:
    """Return the blob store of a lane. Query pictures have a store of their own, since they are deleted after a week."""
    return await (container.query_blobs(writes=writes) if family == "search" else container.blobs(writes=writes))


async def _download(container: Container, family: str) -> download.Deps:
    return download.Deps(await container.downloader(), await _choose_blobs(container, family))


async def _preprocess(container: Container, family: str) -> preprocess.Deps:
    """An image is preprocessed for every generation that is not dropped, a query for the active one."""
    generations = await container.generations()

    def needed() -> tuple[Generation, ...]:
        now = generations.now
        return now.alive if family == "image" else tuple(filter(None, [now.active]))

    def versions() -> Sequence[str]:
        return tuple(dict.fromkeys(each.preprocessing for each in needed())) or (preprocess.DEFAULT_PREPROCESSING,)

    for each in needed():
        refuse_unknown_version(each)
    blobs, workers = await _choose_blobs(container, family), await container.workers(family)
    return preprocess.Deps(blobs, workers, versions, container.settings.max_pixels)


async def _fingerprint(container: Container, family: str) -> fingerprint.Deps:
    """A query is fingerprinted with the method of the active generation."""
    generations = await container.generations()
    if (active := generations.now.active) is not None:
        refuse_unknown_method(active)

    def method() -> str:
        active = generations.now.active
        return active.fingerprint if active else fingerprint.DEFAULT_METHOD

    return fingerprint.Deps(
        await _choose_blobs(container, family), await container.fingerprinter(family), container.journal, method
    )


async def _fingerprint_in(container: Container, family: str, generation: Generation) -> fingerprint.Deps:
    refuse_unknown_method(generation)
    generations = await container.generations()

    def shares_preprocessing(name: str) -> bool:
        other = generations.now.known.get(name)
        return other is not None and other.preprocessing == generation.preprocessing

    return fingerprint.Deps(
        await _choose_blobs(container, family),
        await container.fingerprinter(family),
        container.journal,
        lambda: generation.fingerprint,
        generation.name,
        shares_preprocessing,
    )


async def _embed(container: Container, family: str) -> embed.Deps:
    """A query is embedded in the newest activated generation whose encoder is open here, since a model takes seconds to load."""
    # Imported here: only a process that analyses pictures needs OpenCV.
    from infra.vision.rectify import extract_views

    generations, pictures = await container.generations(), await _choose_blobs(container, family, writes=False)

    def find_encoder(preprocessing: str | None) -> embed.HostedEncoder:
        now = generations.now
        fitting = [
            name
            for name in reversed(now.activations)
            if now.serves(name) and preprocessing in (None, now.known[name].preprocessing)
        ]
        for name in fitting:
            if (encoder := container.encoders.of(name)) is not None:
                return embed.HostedEncoder(name, encoder, find_text_calibration(encoder.encoder.id))
        if now.active is not None and not fitting:
            raise Reject(RejectCode.INTERNAL, "MapSeek has just switched to a new model. Please search again.")
        raise Unavailable("the encoder", "no generation that answers is loaded here yet")

    return embed.Deps(pictures, find_encoder, views=extract_views)


async def _embed_in(container: Container, family: str, generation: Generation) -> embed.Deps:
    refuse_unknown_version(generation)
    hosted = embed.HostedEncoder(generation.name, await container.encoders.open(generation))
    pictures = await _choose_blobs(container, "search" if family == "alert" else family, writes=False)
    again = partial(preprocess.preprocess_again, version=generation.preprocessing, max_pixels=container.settings.max_pixels)
    return embed.Deps(pictures, lambda _: hosted, again)


async def _persist(container: Container, _: str, __: Generation | None = None) -> persist.Deps:
    return persist.Deps(await container.catalogue())


async def _link_in(container: Container, _: str, generation: Generation) -> link.Deps:
    vectors, catalogue, generations = await container.vectors(), await container.catalogue(), await container.generations()
    calibration, prints = find_encoder_calibration(generation.encoder), await open_prints(container)
    return link.Deps(container.journal, vectors, catalogue, prints, calibration, lambda: generations.now.serves(generation.name))


async def _match(container: Container, _: str) -> match.Deps:
    return match.Deps(
        await container.vectors(),
        await container.catalogue(),
        await container.query_blobs(writes=False),
        await open_prints(container),
    )


async def open_prints(container: Container) -> ArchiveFingerprints:
    """Open what a match is verified with: the feature index, the comparer and the archive's blobs."""
    # Imported here: only a process that analyses pictures needs OpenCV.
    from infra.vision.compare import Comparer

    return ArchiveFingerprints(await container.features(), Comparer(), await container.blobs(writes=False))


async def _judge(container: Container, _: str) -> judge.Deps:
    return judge.Deps(container.journal)


async def _alert(container: Container, _: str, __: Generation | None = None) -> alert.Deps:
    generations = await container.generations()
    return alert.Deps(
        container.journal,
        await container.alerts(),
        await container.vectors(),
        await container.catalogue(),
        lambda: generations.now,
    )


async def _notify(container: Container, _: str) -> notify.Deps:
    return notify.Deps(
        await container.notifier(),
        await container.state(),
        await container.catalogue(),
        container.journal,
        await container.alerts(),
        utc_now,
    )


async def _remove(container: Container, _: str) -> remove.Deps:
    return remove.Deps(LogPosts(container.client), LogErasure(container.client))


async def _erase(container: Container, _: str) -> erase.Deps:
    return erase.Deps(
        await container.catalogue(), await container.blobs(), LogErasure(container.client), container.policy.blob_grace
    )


async def _reply(container: Container, _: str) -> reply.Deps:
    catalogue, blobs, explain = await container.catalogue(), await container.blobs(writes=False), await build_explainer(container)
    return reply.Deps(await container.answer_sender(), catalogue, blobs, container.journal, explain, utc_now)


_FOR_LANE: dict[str, Callable[[Container, str], Awaitable[object]]] = {
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

_FOR_GENERATION: dict[str, Callable[[Container, str, Generation], Awaitable[object]]] = {
    "fingerprint": _fingerprint_in,
    "embed": _embed_in,
    "persist": _persist,
    "link": _link_in,
    "alert": _alert,
}
