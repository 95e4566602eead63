"""The micro-batcher without a model: batches, priority of urgent calls, overlap of preparing and running, and errors."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from contracts.errors import Unavailable
from infra.clip.encoder import MicroBatcher


class Gate:
    """A model that records its batches and, while shut, waits in its thread."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.opened = threading.Event()
        self.opened.set()

    def run(self, prepared: list[bytes]) -> list[bytes]:
        self.batches.append(prepared)
        assert self.opened.wait(10)
        return [each.upper() for each in prepared]


@asynccontextmanager
async def open_batcher(
    run: Callable[[list[bytes]], list[bytes]], prepare: Callable[[bytes], bytes] = bytes, *, size: int = 4, wait_ms: float = 5
) -> AsyncIterator[MicroBatcher[bytes]]:
    batcher = MicroBatcher(prepare, run, batch_size=size, batch_wait_ms=wait_ms)
    try:
        yield batcher
    finally:
        await batcher.close()


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (what is waited for happens in threads)
            await asyncio.sleep(0.001)


def submit_all(batcher: MicroBatcher[bytes], *payloads: bytes, urgent: bool = False) -> list[asyncio.Task[bytes]]:
    return [asyncio.create_task(batcher.submit(payload, urgent=urgent)) for payload in payloads]


async def test_gathers_concurrent_calls_into_full_batches_and_answers_each_with_its_own() -> None:
    gate = Gate()
    names = [b"%02d" % i + b"x" for i in range(8)]
    async with open_batcher(gate.run, wait_ms=5000) as batcher:
        assert await asyncio.gather(*submit_all(batcher, *names)) == [name.upper() for name in names]
    assert [len(batch) for batch in gate.batches] == [4, 4]


async def test_runs_a_batch_that_is_not_full_when_its_time_is_over() -> None:
    gate = Gate()
    async with open_batcher(gate.run, wait_ms=1) as batcher, asyncio.timeout(5):
        assert await batcher.submit(b"a", urgent=False) == b"A"


async def test_an_urgent_call_does_not_wait_for_a_full_batch() -> None:
    gate = Gate()
    async with open_batcher(gate.run, wait_ms=60_000) as batcher, asyncio.timeout(5):
        patient = submit_all(batcher, b"p")
        assert await batcher.submit(b"u", urgent=True) == b"U"
        assert gate.batches == [[b"u"]]
        submit_all(batcher, b"q", b"r", b"s")
        assert await patient[0] == b"P"


async def test_urgent_calls_overtake_waiting_ones_and_share_no_batch_with_them() -> None:
    gate = Gate()
    gate.opened.clear()
    async with open_batcher(gate.run) as batcher:
        first = submit_all(batcher, b"a", b"b", b"c", b"d")
        await wait_until(lambda: len(gate.batches) == 1)
        rest = submit_all(batcher, b"e", b"f", b"g", b"h", b"i")
        urgent = submit_all(batcher, b"u", b"v", urgent=True)
        # On a busy machine the first batch may have fewer than the first four calls.
        await wait_until(
            lambda: len(gate.batches[0]) + len(batcher._ready_calls._patient) == 9 and len(batcher._ready_calls._urgent) == 2
        )
        gate.opened.set()
        await asyncio.gather(*first, *rest, *urgent)
    assert gate.batches[1] == [b"u", b"v"]


async def test_urgent_calls_overtake_in_preparation_too() -> None:
    gate, order, free = Gate(), list[bytes](), threading.Event()

    def prepare(payload: bytes) -> bytes:
        order.append(payload)
        assert free.wait(10)
        return payload

    async with open_batcher(gate.run, prepare) as batcher:
        calls = submit_all(batcher, b"a", b"b", b"c", b"d")
        await wait_until(lambda: len(order) == 2)
        calls += submit_all(batcher, b"u", urgent=True)
        await asyncio.sleep(0)
        free.set()
        await asyncio.gather(*calls)
    assert order[2] == b"u"


async def test_prepares_the_next_batch_while_the_model_runs() -> None:
    gate, prepared = Gate(), list[bytes]()

    def prepare(payload: bytes) -> bytes:
        prepared.append(payload)
        return payload

    gate.opened.clear()
    async with open_batcher(gate.run, prepare, size=1) as batcher:
        calls = submit_all(batcher, b"a")
        await wait_until(lambda: gate.batches == [[b"a"]])
        calls += submit_all(batcher, b"b")
        await wait_until(lambda: prepared == [b"a", b"b"])
        gate.opened.set()
        await asyncio.gather(*calls)


async def test_an_input_that_cannot_be_prepared_fails_alone() -> None:
    def prepare(payload: bytes) -> bytes:
        if payload == b"bad":
            raise ValueError("not a picture")
        return payload

    gate = Gate()
    async with open_batcher(gate.run, prepare) as batcher:
        good, bad, other = await asyncio.gather(*submit_all(batcher, b"a", b"bad", b"b"), return_exceptions=True)
    assert (good, other) == (b"A", b"B")
    assert isinstance(bad, ValueError)


async def test_a_model_error_fails_its_batch_and_no_later_one() -> None:
    def run(prepared: list[bytes]) -> list[bytes]:
        if b"boom" in prepared:
            raise RuntimeError("out of memory")
        return prepared

    async with open_batcher(run, size=2) as batcher:
        answers = await asyncio.gather(*submit_all(batcher, b"boom", b"a"), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["out of memory", "out of memory"]
        assert await batcher.submit(b"b", urgent=False) == b"b"


async def test_a_model_that_returns_too_few_results_fails_the_batch() -> None:
    async with open_batcher(lambda prepared: prepared[1:], size=2) as batcher:
        with pytest.raises(RuntimeError, match="1 results for 2 inputs"):
            await asyncio.gather(*submit_all(batcher, b"a", b"b"))


async def test_a_cancelled_call_is_not_run_and_affects_no_other() -> None:
    gate = Gate()
    gate.opened.clear()
    async with open_batcher(gate.run, size=2) as batcher:
        running = submit_all(batcher, b"a", b"b")
        await wait_until(lambda: len(gate.batches) == 1)
        waiting, cancelled = submit_all(batcher, b"c", b"d")
        await wait_until(lambda: len(batcher._ready_calls._patient) == 2)
        cancelled.cancel()
        running[0].cancel()
        await wait_until(cancelled.done)
        gate.opened.set()
        assert await waiting == b"C"
        assert await running[1] == b"B"
    assert gate.batches[1] == [b"c"]


async def test_a_failure_after_a_cancellation_reaches_the_others() -> None:
    gate = Gate()

    def run(prepared: list[bytes]) -> list[bytes]:
        gate.run(prepared)
        raise RuntimeError("out of memory")

    gate.opened.clear()
    async with open_batcher(run, size=2) as batcher:
        cancelled, other = submit_all(batcher, b"a", b"b")
        await wait_until(lambda: len(gate.batches) == 1)
        cancelled.cancel()
        await wait_until(cancelled.done)
        gate.opened.set()
        with pytest.raises(RuntimeError, match="out of memory"):
            await asyncio.wait_for(other, 5)


async def test_closing_waits_for_the_running_batch_and_refuses_other_calls() -> None:
    gate = Gate()
    gate.opened.clear()
    async with open_batcher(gate.run, size=1) as batcher:
        calls = submit_all(batcher, b"a", b"b")
        await wait_until(lambda: len(gate.batches) == 1)
        closing = asyncio.create_task(batcher.close())
        answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        assert not closing.done()
        gate.opened.set()
        await closing
        with pytest.raises(Unavailable):
            await batcher.submit(b"c", urgent=True)
    assert gate.batches == [[b"a"]]


async def test_other_work_waits_only_for_the_running_batch() -> None:
    gate = Gate()
    gate.opened.clear()
    order = list[str]()
    async with open_batcher(gate.run, size=1) as batcher:
        calls = submit_all(batcher, b"a", b"b")
        await wait_until(lambda: gate.batches == [[b"a"]])

        def work() -> bytes:
            order.append(f"work after {len(gate.batches)}")
            return b"done"

        other = asyncio.create_task(batcher.run_between_batches(work))
        await asyncio.sleep(0)
        assert order == []
        gate.opened.set()
        assert await other == b"done"
        assert await asyncio.gather(*calls) == [b"A", b"B"]
    assert order == ["work after 1"]


async def test_other_work_gets_its_own_error_and_is_refused_when_closing() -> None:
    gate = Gate()

    def fail() -> bytes:
        raise ValueError("no such words")

    async with open_batcher(gate.run) as batcher:
        with pytest.raises(ValueError, match="no such words"):
            await batcher.run_between_batches(fail)
        gate.opened.clear()
        calls = submit_all(batcher, b"a")
        await wait_until(lambda: gate.batches == [[b"a"]])
        waiting = asyncio.create_task(batcher.run_between_batches(lambda: b"never"))
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        with pytest.raises(Unavailable):
            await calls[0]
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, 5)
        gate.opened.set()
        await closing
        with pytest.raises(Unavailable):
            await batcher.run_between_batches(lambda: b"later")
