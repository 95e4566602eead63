"""Requests to Discord, counted over several processes that share nothing but the store; time is the test's."""

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


class Time:
    """Everybody's clock: it stands while anyone works and leaps to whoever wakes first."""

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

    async def run(self, *work: asyncio.Task[None]) -> None:
        while not all(task.done() for task in work):
            for _ in range(30):
                await asyncio.sleep(0)
            if self._sleepers:
                moment, _, event = heapq.heappop(self._sleepers)
                self.now = max(self.now, moment)
                event.set()
        for task in work:
            task.result()


@pytest.fixture(autouse=True)
def discord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Route, "BASE", API)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


def budget(state: MemoryState, time: Time) -> RequestBudget:
    return RequestBudget(state, clock=time.clock, sleep=time.sleep)


async def sent(time: Time, budgets: list[RequestBudget], each: int) -> list[float]:
    """When each of many requests of each process is sent."""
    moments: list[float] = []

    async def one(budget: RequestBudget) -> None:
        await budget.admit(HISTORY)
        moments.append(time.now)

    await time.run(*(asyncio.create_task(one(budget)) for _ in range(each) for budget in budgets))
    return moments


def busiest(moments: list[float], seconds: float = 1.0) -> int:
    """The most requests in any span of so many seconds."""
    return max(sum(begin <= moment < begin + seconds for moment in moments) for begin in moments)


@pytest.mark.parametrize("processes", [1, 2, 7])
async def test_no_second_sees_more_than_45_requests(time: Time, state: MemoryState, processes: int) -> None:
    moments = await sent(time, [budget(state, time) for _ in range(processes)], each=420 // processes)
    assert len(moments) == 420
    assert busiest(moments) <= 45
    assert max(moments) - START < 420 / 40 + 0.5
    assert state.changes <= 420 / 5 + processes


async def test_a_lone_request_does_not_wait(time: Time, state: MemoryState) -> None:
    await budget(state, time).admit(HISTORY)
    assert time.now == START


async def test_what_was_not_used_in_time_is_not_saved_up(time: Time, state: MemoryState) -> None:
    one = [budget(state, time), budget(state, time), budget(state, time)]
    moments = await sent(time, one, each=1)
    time.now += 60
    moments += await sent(time, one, each=60)
    assert busiest(moments) <= 45


@pytest.mark.parametrize("url", [CALLBACK, HOOK, FILE, SOCKET])
async def test_answers_to_people_and_files_wait_for_no_turn(time: Time, state: MemoryState, url: str) -> None:
    one = budget(state, time)
    for _ in range(200):
        await one.admit(url)
    assert (time.now, state.changes) == (START, 0)


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_too_many_refusals_of_all_processes_hold_everything_until_the_window_ends(
    time: Time, state: MemoryState, status: int
) -> None:
    processes = [budget(state, time) for _ in range(4)]
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
    assert len(await sent(time, processes, each=1)) == 4


async def test_answers_to_people_are_held_in_the_end(time: Time, state: MemoryState) -> None:
    one = budget(state, time)
    for _ in range(MAX_INVALID_FOR_ANSWERS):
        await one.record_response(HISTORY, 403)
    with pytest.raises(RequestsPaused):
        await one.admit(CALLBACK)
    await one.admit(FILE)


async def test_what_is_no_refusal_of_ours_is_not_counted(time: Time, state: MemoryState) -> None:
    one = budget(state, time)
    for status in (200, 204, 404, 500):
        await one.record_response(HISTORY, status)
    await one.record_response(HISTORY, 429, shared=True)
    await one.record_response(FILE, 403)
    assert state.changes == 0


async def test_refusals_of_long_ago_do_not_count(time: Time, state: MemoryState) -> None:
    one = budget(state, time)
    for _ in range(4):
        for _ in range(MAX_INVALID_REQUESTS // 2 - 1):
            await one.record_response(HISTORY, 403)
        await one.admit(HISTORY)
        time.now += 11 * 60


async def test_without_the_store_each_process_takes_a_fifth(time: Time, state: MemoryState) -> None:
    state.down = True
    moments = await sent(time, [budget(state, time) for _ in range(5)], each=40)
    assert busiest(moments) <= 45
    one = budget(state, time)
    for _ in range(MAX_INVALID_REQUESTS // 5):
        await one.record_response(HISTORY, 403)
    with pytest.raises(RequestsPaused):
        await one.admit(HISTORY)


async def test_what_was_counted_without_the_store_is_told_when_it_is_back(time: Time, state: MemoryState) -> None:
    one, other = budget(state, time), budget(state, time)
    state.down = True
    for _ in range(1000):
        await one.record_response(HISTORY, 403)
    state.down = False
    time.now += 11
    await one.admit(HISTORY)
    for _ in range(MAX_INVALID_REQUESTS - 1000):
        await other.record_response(HISTORY, 403)
    with pytest.raises(RequestsPaused):
        await other.admit(HISTORY)


async def test_a_clock_that_was_wrong_blocks_nobody(time: Time, state: MemoryState) -> None:
    time.now += 1_000_000
    early = budget(state, time)
    await early.admit(HISTORY)
    time.now = START
    moments = await sent(time, [early, budget(state, time)], each=50)
    assert busiest(moments) <= 45
    assert Counter(moment < START + 4 for moment in moments) == {True: 100}
