"""The image encoder: an open_clip vision tower, and a text tower if the model has one, behind a micro-batcher.

Micro-batching turns single calls from many tasks into batches for the model. A few threads prepare inputs while another thread runs
the model on the batch before. Urgent calls overtake all others in both steps, and go in batches of their own that do not wait to
fill. So a search waits for no archived pictures except the batch that is already running.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog
from PIL import Image

from contracts.errors import MapSeekError, Reject, RejectCode, Unavailable
from contracts.ports import Encoder
from infra.clip.calibration import choose_calibration
from infra.clip.shipped import find_shipped_tag
from infra.tasks import cancel_tasks

log = structlog.get_logger()

T = TypeVar("T")
"""The type of a prepared input."""

NO_TEXT_TOWER = (
    "The model of this MapSeek understands pictures but not words, so /find-text is not available here. "
    "ViT-B-32 is one of the models that support it."
)


@dataclass(slots=True, eq=False)
class _Call:
    """A waiting call: its input, raw or prepared, and the future that the caller awaits."""

    payload: Any
    urgent: bool
    answer: asyncio.Future[bytes]

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _Lanes:
    """Two queues of calls, urgent and patient. Patient calls are taken only while there is no urgent one."""

    def __init__(self) -> None:
        self._urgent: deque[_Call] = deque()
        self._patient: deque[_Call] = deque()
        self._arrival = asyncio.Event()

    def put(self, call: _Call) -> None:
        (self._urgent if call.urgent else self._patient).append(call)
        self._arrival.set()

    async def take(self, most: int, max_wait_s: float) -> list[_Call]:
        """Wait for a call and take up to `most` from one queue. Patient calls wait up to `max_wait_s` until there are as many.

        Calls that were cancelled while they waited are left out, so the list may be empty.
        """
        while not (self._urgent or self._patient):
            await self._next_arrival()
        with suppress(TimeoutError):
            async with asyncio.timeout(max_wait_s):
                while not self._urgent and len(self._patient) < most:
                    await self._next_arrival()
        lane = self._urgent or self._patient
        calls = [lane.popleft() for _ in range(min(most, len(lane)))]
        return [call for call in calls if not call.answer.done()]

    async def _next_arrival(self) -> None:
        self._arrival.clear()
        await self._arrival.wait()


class MicroBatcher(Generic[T]):
    """Collects calls of `submit` into batches for `run`. A batch starts at `batch_size` inputs, or `batch_wait_ms` after its first.

    `prepare` turns one input into what `run` takes. It is called in `prepare_threads` threads, and only the caller of this input
    gets its exception. `run` is called in one thread with at most `batch_size` prepared inputs. It returns as many results, in the
    same order, and every caller of the batch gets its exception.
    """

    def __init__(
        self,
        prepare: Callable[[bytes], T],
        run: Callable[[list[T]], list[bytes]],
        *,
        batch_size: int,
        batch_wait_ms: float,
        prepare_threads: int = 2,
    ) -> None:
        self._prepare = prepare
        self._run = run
        self._batch_size = batch_size
        self._max_wait_s = batch_wait_ms / 1000
        self._prepare_pool = ThreadPoolExecutor(prepare_threads, thread_name_prefix="prepare")
        self._prepare_threads = prepare_threads
        self._model_pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._raw_calls, self._ready_calls = _Lanes(), _Lanes()
        self._open_calls: set[_Call] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def submit(self, payload: bytes, *, urgent: bool) -> bytes:
        """Return the model's result for one input. Raises what `prepare` or `run` raised, and Unavailable once the batcher is
        closed.
        """
        if self._closed:
            raise _closed_error()
        if not self._tasks:
            work = [self._prepare_calls() for _ in range(self._prepare_threads)]
            self._tasks = [asyncio.create_task(each) for each in (*work, self._run_batches())]
        call = _Call(payload, urgent, asyncio.get_running_loop().create_future())
        self._open_calls.add(call)
        self._raw_calls.put(call)
        try:
            return await call.answer
        finally:
            self._open_calls.discard(call)

    async def run_between_batches(self, work: Callable[[], bytes]) -> bytes:
        """Run other work in the model's thread as soon as the running batch has ended, and return its result.

        Raises what `work` raised, and Unavailable once the batcher is closed.
        """
        if self._closed:
            raise _closed_error()
        running = asyncio.get_running_loop().run_in_executor(self._model_pool, work)
        await asyncio.wait([running])
        if running.cancelled():
            raise _closed_error()
        return running.result()

    async def close(self) -> None:
        """Refuse all waiting and later calls. Returns when the model has finished its running batch."""
        self._closed = True
        await cancel_tasks(*self._tasks)
        for call in self._open_calls:
            call.fail(_closed_error())
        for threads in (self._prepare_pool, self._model_pool):
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    async def _prepare_calls(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for call in await self._raw_calls.take(1, 0):
                preparing = loop.run_in_executor(self._prepare_pool, self._prepare, call.payload)
                await asyncio.wait([preparing])
                if error := preparing.exception():
                    call.fail(error)
                else:
                    call.payload = preparing.result()
                    self._ready_calls.put(call)

    async def _run_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not (calls := await self._ready_calls.take(self._batch_size, self._max_wait_s)):
                continue
            running = loop.run_in_executor(self._model_pool, self._checked_run, [call.payload for call in calls])
            await asyncio.wait([running])
            if error := running.exception():
                for call in calls:
                    call.fail(error)
                continue
            for call, result in zip(calls, running.result(), strict=True):
                if not call.answer.done():
                    call.answer.set_result(result)

    def _checked_run(self, prepared: list[T]) -> list[bytes]:
        results = self._run(prepared)
        if len(results) != len(prepared):
            raise RuntimeError(f"the model gave {len(results)} results for {len(prepared)} inputs")
        return results


def _closed_error() -> Unavailable:
    return Unavailable("the encoder", "it is shutting down")


if TYPE_CHECKING:
    import torch

    from infra.clip.loading import Tower


async def open_encoder(
    model: str,
    pretrained: str | None,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 16,
    batch_wait_ms: float = 5,
) -> "OpenClipEncoder":
    """Load an open_clip model by name and return its encoder.

    `pretrained` is a tag or a checkpoint file. None loads the weights that ship with the model, or seeded random ones if there are
    none. The device `auto` is the first available of cuda, mps and cpu; the precision `auto` is fp16 on cuda and fp32 elsewhere. A
    batch runs when it has `batch_size` pictures, or `batch_wait_ms` after its first. Raises MapSeekError if something cannot be
    loaded.
    """
    pretrained = pretrained or find_shipped_tag(model)
    tower = await asyncio.to_thread(_load, model, pretrained, device, precision)
    trained = pretrained is not None
    encoder = Encoder(tower.name, tower.digest, tower.dimensions, trained, choose_calibration(model, trained=trained))
    log.info("model_loaded", encoder=encoder.id, digest=encoder.digest[:12], device=str(tower.device))
    return OpenClipEncoder(tower, encoder, batch_size, batch_wait_ms)


class OpenClipEncoder:
    """Turns pictures and words into vectors. Pictures from concurrent calls run in one batch."""

    def __init__(self, tower: "Tower", encoder: Encoder, batch_size: int, batch_wait_ms: float) -> None:
        self.encoder = encoder
        self._tower = tower
        self._batcher = MicroBatcher(self._prepare, self._run, batch_size=batch_size, batch_wait_ms=batch_wait_ms)

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        """Return the L2-normalised vector of a picture as little-endian float32.

        Raises Reject for a picture that cannot be decoded, and Unavailable if the encoder is closed.
        """
        return await self._batcher.submit(image, urgent=urgent)

    async def encode_text(self, text: str) -> bytes:
        """Return the L2-normalised vector of words as little-endian float32.

        Raises Reject if the model has no text tower, and Unavailable if the encoder is closed.
        """
        text_tower = self._tower.text_tower
        if text_tower is None:
            raise Reject(RejectCode.NO_TEXT, NO_TEXT_TOWER)
        return await self._batcher.run_between_batches(lambda: text_tower.embed_text(text).numpy().astype("<f4").tobytes())

    async def close(self) -> None:
        """Refuse all waiting calls and end the threads."""
        await self._batcher.close()

    def _prepare(self, image: bytes) -> "torch.Tensor":
        try:
            picture = Image.open(BytesIO(image)).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise Reject(RejectCode.DAMAGED, "The picture cannot be decoded.") from error
        return self._tower.prepare(picture)

    def _run(self, prepared: "list[torch.Tensor]") -> list[bytes]:
        return [vector.astype("<f4").tobytes() for vector in self._tower.vectors(prepared).numpy()]


def _load(model: str, pretrained: str | None, device: str, precision: str) -> "Tower":
    try:
        # Deferred: torch takes seconds and half a gigabyte, and only a process that embeds needs it.
        from infra.clip.loading import load_tower
    except ModuleNotFoundError as error:
        raise MapSeekError(f"{error.name} is not installed: install mapseek[embed] on the machine that embeds pictures.") from error
    return load_tower(model, pretrained, device=device, precision=precision)
