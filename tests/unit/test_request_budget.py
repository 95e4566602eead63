"""The budget of requests to Discord, which several processes share through the state store. A simulated clock replaces time."""

import asyncio
import heapq
from collections import Counter

import pytest
from disnake.http import Route

from infra.discord.rest.rate_limit import MAX_INVALID_FOR_ANSWERS, MAX_INVALID_REQUESTS, RequestBudget, RequestsPaused
from tests.support.fakes import MemoryState

API = "https://discord.com/api/v10"
HISTORY, CALLBACK, HOOK = f"{API}/channels/1/messages", f"{API}/interactions/1/t/callback", f"{API}/webhooks/1/t/messages/@original"
FILE, SOCKET = "https://cdn.discordapp.com/attachments/1/2/a.png", "wss://gateway.discord.gg/?v=10"
START = 1_795_000_000.0


class SimulatedTime:
    """A clock for all processes. It stands still while a task works, and jumps to the time of the next sleeper."""

    def __init__(self) -> None:
        self.now = START
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._number = 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self._number += 1
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, self._number, event))
        await event.wait()

    async def run(self, *tasks: asyncio.Task[None]) -> None:
        while not all(task.done() for task in tasks):
            for _ in range(30):
                await asyncio.sleep(0)
            if self._sleepers:
                moment, _, event = heapq.heappop(self._sleepers)
                self.now = max(self.now, moment)
                event.set()
        for task in tasks:
            task.result()


@pytest.fixture(autouse=True)
def set_api_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Route, "BASE", API)


@pytest.fixture
def time() -> SimulatedTime:
    return SimulatedTime()


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


def create_budget(state: MemoryState, time: SimulatedTime) -> RequestBudget:
    return RequestBudget(state, clock=time.clock, sleep=time.sleep)


async def send_requests(time: SimulatedTime, budgets: list[RequestBudget], each: int) -> list[float]:
    """Send `each` requests from every process. Return the time of each request."""
    moments: list[float] = []

    async def send_one(budget: RequestBudget) -> None:
        await budget.admit(HISTORY)
        moments.append(time.now)

    await time.run(*(asyncio.create_task(send_one(budget)) for _ in range(each) for budget in budgets))
    return moments


def find_peak_count(moments: list[float], seconds: float = 1.0) -> int:
    """Return the largest number of requests in any span of that length."""
    return max(sum(begin <= moment < begin + seconds for moment in moments) for begin in moments)


@pytest.mark.parametrize("processes", [1, 2, 7])
async def test_no_second_sees_more_than_45_requests(time: SimulatedTime, state: MemoryState, processes: int) -> None:
    moments = await send_requests(time, [create_budget(state, time) for _ in range(processes)], each=420 // processes)
    assert len(moments) == 420
    assert find_peak_count(moments) <= 45
    assert max(moments) - START < 420 / 40 + 0.5
    assert state.changes <= 420 / 5 + processes


async def test_a_single_request_does_not_wait(time: SimulatedTime, state: MemoryState) -> None:
    await create_budget(state, time).admit(HISTORY)
    assert time.now == START


async def test_unused_requests_are_not_saved_for_later(time: SimulatedTime, state: MemoryState) -> None:
    budgets = [create_budget(state, time), create_budget(state, time), create_budget(state, time)]
    moments = await send_requests(time, budgets, each=1)
    time.now += 60
    moments += await send_requests(time, budgets, each=60)
    assert find_peak_count(moments) <= 45


@pytest.mark.parametrize("url", [CALLBACK, HOOK, FILE, SOCKET])
async def test_answers_to_members_and_files_are_sent_without_waiting(time: SimulatedTime, state: MemoryState, url: str) -> None:
    budget = create_budget(state, time)
    for _ in range(200):
        await budget.admit(url)
    assert (time.now, state.changes) == (START, 0)


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_too_many_invalid_requests_pause_all_processes_except_answers_to_members(
    time: SimulatedTime, state: MemoryState, status: int
) -> None:
    processes = [create_budget(state, time) for _ in range(4)]
    for number in range(MAX_INVALID_REQUESTS):
        await processes[number % 3].record_response((HISTORY, HOOK)[number % 2], status)
    time.now += 6
    for process in processes:
        with pytest.raises(RequestsPaused) as caught:
            await process.admit(HISTORY)
        await process.admit(CALLBACK)
    assert caught.value.after is not None
    assert 594 <= caught.value.after <= 660
    time.now += caught.value.after
    assert len(await send_requests(time, processes, each=1)) == 4


async def test_many_more_invalid_requests_pause_answers_to_members_too(time: SimulatedTime, state: MemoryState) -> None:
    budget = create_budget(state, time)
    for _ in range(MAX_INVALID_FOR_ANSWERS):
        await budget.record_response(HISTORY, 403)
    with pytest.raises(RequestsPaused):
        await budget.admit(CALLBACK)
    await budget.admit(FILE)


async def test_other_statuses_shared_limits_and_files_are_not_counted(time: SimulatedTime, state: MemoryState) -> None:
    budget = create_budget(state, time)
    for status in (200, 204, 404, 500):
        await budget.record_response(HISTORY, status)
    await budget.record_response(HISTORY, 429, shared=True)
    await budget.record_response(FILE, 403)
    assert state.changes == 0


async def test_old_invalid_requests_do_not_count(time: SimulatedTime, state: MemoryState) -> None:
    budget = create_budget(state, time)
    for _ in range(4):
        for _ in range(MAX_INVALID_REQUESTS // 2 - 1):
            await budget.record_response(HISTORY, 403)
        await budget.admit(HISTORY)
        time.now += 11 * 60


async def test_without_the_store_each_process_uses_a_fifth_of_the_budget(time: SimulatedTime, state: MemoryState) -> None:
    state.down = True
    moments = await send_requests(time, [create_budget(state, time) for _ in range(5)], each=40)
    assert find_peak_count(moments) <= 45
    budget = create_budget(state, time)
    for _ in range(MAX_INVALID_REQUESTS // 5):
        await budget.record_response(HISTORY, 403)
    with pytest.raises(RequestsPaused):
        await budget.admit(HISTORY)


async def test_invalid_requests_counted_without_the_store_are_saved_when_it_is_back(
    time: SimulatedTime, state: MemoryState
) -> None:
    budget, other = create_budget(state, time), create_budget(state, time)
    state.down = True
    for _ in range(1000):
        await budget.record_response(HISTORY, 403)
    state.down = False
    time.now += 11
    await budget.admit(HISTORY)
    for _ in range(MAX_INVALID_REQUESTS - 1000):
        await other.record_response(HISTORY, 403)
    with pytest.raises(RequestsPaused):
        await other.admit(HISTORY)


async def test_a_clock_that_ran_ahead_blocks_no_process(time: SimulatedTime, state: MemoryState) -> None:
    time.now += 1_000_000
    early = create_budget(state, time)
    await early.admit(HISTORY)
    time.now = START
    moments = await send_requests(time, [early, create_budget(state, time)], each=50)
    assert find_peak_count(moments) <= 45
    assert Counter(moment < START + 4 for moment in moments) == {True: 100}
