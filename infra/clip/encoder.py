"""The image encoder: an open_clip vision tower, and the text tower where it has one, behind a micro-batcher.

Micro-batching: single calls from many tasks become batches for a model.

Inputs are prepared in a few threads while the model, in a thread of its own, runs the batch before. Urgent calls overtake all
others at both steps, and go in batches of their own that wait for nothing, so that a search pays for no archived picture beyond
the batch that is running already.
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

T = TypeVar("T")
"""What one input is prepared into."""


NO_TEXT_TOWER = (
    "This MapSeek's model understands pictures but no words, so /find-text is not available here: ViT-B-32 is one of the models "
    "that offer it."
)


@dataclass(slots=True, eq=False)
class _Call:
    """One waiting caller: its input, raw or prepared, and the future that it awaits."""

    payload: Any
    urgent: bool
    answer: asyncio.Future[bytes]

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _Lanes:
    """Two queues of calls: nobody takes from the patient one while there is an urgent call."""

    def __init__(self) -> None:
        self._urgent: deque[_Call] = deque()
        self._patient: deque[_Call] = deque()
        self._arrival = asyncio.Event()

    def put(self, call: _Call) -> None:
        (self._urgent if call.urgent else self._patient).append(call)
        self._arrival.set()

    async def take(self, most: int, patience: float) -> list[_Call]:
        """Wait for a call and take up to `most` of one lane; patient calls wait up to `patience` seconds to be as many.

        Calls that were cancelled meanwhile are left out, so that the list may be empty.
        """
        while not (self._urgent or self._patient):
            await self._next_arrival()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self._urgent and len(self._patient) < most:
                    await self._next_arrival()
        lane = self._urgent or self._patient
        calls = [lane.popleft() for _ in range(min(most, len(lane)))]
        return [call for call in calls if not call.answer.done()]

    async def _next_arrival(self) -> None:
        self._arrival.clear()
        await self._arrival.wait()


class MicroBatcher(Generic[T]):
    """Batches calls of `submit` for `run`, up to `batch_size` inputs or until the oldest has waited `batch_wait_ms`.

    `prepare` turns one input into what `run` takes and is called in `prepare_threads` threads; what it raises, its caller alone
    gets. `run` is called in one thread, with at most `batch_size` prepared inputs, and gives as many results in their order; what
    it raises, every caller of that batch gets.
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
        self._patience = batch_wait_ms / 1000
        self._preparers = ThreadPoolExecutor(prepare_threads, thread_name_prefix="prepare")
        self._prepare_threads = prepare_threads
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._raw, self._ready = _Lanes(), _Lanes()
        self._open: set[_Call] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def submit(self, payload: bytes, *, urgent: bool) -> bytes:
        """The model's result for one input. Raises what `prepare` or `run` raised, and Unavailable once the batcher is closed."""
        if self._closed:
            raise _closing()
        if not self._tasks:
            work = [self._prepare_calls() for _ in range(self._prepare_threads)]
            self._tasks = [asyncio.create_task(each) for each in (*work, self._run_batches())]
        call = _Call(payload, urgent, asyncio.get_running_loop().create_future())
        self._open.add(call)
        self._raw.put(call)
        try:
            return await call.answer
        finally:
            self._open.discard(call)

    async def between(self, work: Callable[[], bytes]) -> bytes:
        """Run something else in the model's thread as soon as the batch that it is in has ended, and give its result.

        Raises what `work` raised, and Unavailable once the batcher is closed.
        """
        if self._closed:
            raise _closing()
        running = asyncio.get_running_loop().run_in_executor(self._model, work)
        await asyncio.wait([running])
        if running.cancelled():
            raise _closing()
        return running.result()

    async def close(self) -> None:
        """Refuse every waiting and every later call; return when the model has ended the batch that it is in."""
        self._closed = True
        await cancel_tasks(*self._tasks)
        for call in self._open:
            call.fail(_closing())
        for threads in (self._preparers, self._model):
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    async def _prepare_calls(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for call in await self._raw.take(1, 0):
                preparing = loop.run_in_executor(self._preparers, self._prepare, call.payload)
                await asyncio.wait([preparing])
                if error := preparing.exception():
                    call.fail(error)
                else:
                    call.payload = preparing.result()
                    self._ready.put(call)

    async def _run_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not (calls := await self._ready.take(self._batch_size, self._patience)):
                continue
            running = loop.run_in_executor(self._model, self._checked_run, [call.payload for call in calls])
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


def _closing() -> Unavailable:
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
    """Load an open_clip model by name, with the weights of a pretrained tag, of a checkpoint file, or (None) those that ship with
    it, and seeded random ones where none do.

    The device is cuda, mps or cpu, whichever is there first; the precision fp16 on cuda and fp32 elsewhere. A batch is run when it
    has `batch_size` pictures or `batch_wait_ms` after its first. Raises MapSeekError, in one sentence, for what cannot be loaded.
    """
    pretrained = pretrained or find_shipped_tag(model)
    tower = await asyncio.to_thread(_load, model, pretrained, device, precision)
    trained = pretrained is not None
    encoder = Encoder(tower.name, tower.digest, tower.dimensions, trained, choose_calibration(model, trained=trained))
    structlog.get_logger().info("model_loaded", encoder=encoder.id, digest=encoder.digest[:12], device=str(tower.device))
    return OpenClipEncoder(tower, encoder, batch_size, batch_wait_ms)


class OpenClipEncoder:
    """Pictures and words to vectors; pictures that are asked for at the same time are run together."""

    def __init__(self, tower: "Tower", encoder: Encoder, batch_size: int, batch_wait_ms: float) -> None:
        self.encoder = encoder
        self._tower = tower
        self._batcher = MicroBatcher(self._prepare, self._run, batch_size=batch_size, batch_wait_ms=batch_wait_ms)

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        """The picture's L2-normalised vector as little-endian float32.

        Raises Reject for a picture that cannot be decoded, and Unavailable when the encoder is closed.
        """
        return await self._batcher.submit(image, urgent=urgent)

    async def encode_text(self, text: str) -> bytes:
        """The words' L2-normalised vector as little-endian float32.

        Raises Reject where the model knows no words, and Unavailable when the encoder is closed.
        """
        words = self._tower.words
        if words is None:
            raise Reject(RejectCode.NO_TEXT, NO_TEXT_TOWER)
        return await self._batcher.between(lambda: words.vector(text).numpy().astype("<f4").tobytes())

    async def close(self) -> None:
        """Refuse whoever waits, and end the threads."""
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
        # Deferred: torch takes seconds and half a gigabyte, and only the process that embeds needs it.
        from infra.clip.loading import load_tower
    except ModuleNotFoundError as error:
        raise MapSeekError(f"{error.name} is not installed: install mapseek[embed] where pictures are embedded.") from error
    return load_tower(model, pretrained, device=device, precision=precision)
