"""Quotas: how many searches a member and a server may make in a minute and at the same time, and how often pages may be turned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.state import GuildSettings
from infra.discord.ask.quotas import PRESSES_PER_MINUTE, SEARCH_LEASE_S, Quotas

SETTINGS = GuildSettings(searches_per_member=3, searches_per_guild=5, searches_at_once=20)


def try_search(
    quotas: Quotas, now: float, *, guild: str = "g", member: str = "m", count: int = 1, settings: GuildSettings = SETTINGS
) -> float:
    """Begin a search if the quota allows it. Return the seconds to wait: 0 if the search has begun."""
    wait = quotas.wait(guild, member, settings, now)
    if not wait:
        quotas.begin(guild, member, [f"{now}-{number}" for number in range(count)], settings, now)
    return wait


def test_a_member_may_search_in_a_burst_and_then_at_the_limits_rate() -> None:
    quotas = Quotas()
    assert [try_search(quotas, 100) for _ in range(4)] == [0, 0, 0, 20]
    assert try_search(quotas, 119) == 1
    assert try_search(quotas, 120) == 0
    assert try_search(quotas, 120) == 20


def test_each_member_has_a_quota_and_all_share_the_guilds() -> None:
    quotas = Quotas()
    assert [try_search(quotas, 0, member="a") for _ in range(3)] == [0, 0, 0]
    assert [try_search(quotas, 0, member="b") for _ in range(3)] == [0, 0, 12]
    assert try_search(quotas, 0, guild="h", member="a") == 0


def test_a_message_with_many_pictures_is_allowed_and_charged_afterwards() -> None:
    quotas = Quotas()
    roomy = SETTINGS.model_copy(update={"searches_per_guild": 100})
    assert try_search(quotas, 0, count=10, settings=roomy) == 0
    assert try_search(quotas, 0, settings=roomy) == 160
    assert try_search(quotas, 160, settings=roomy) == 0


def test_running_searches_are_limited_until_they_finish_or_their_lease_expires() -> None:
    settings = GuildSettings(searches_at_once=2)
    quotas = Quotas()
    quotas.begin("g", "m", ["1"], settings, 0)
    quotas.begin("g", "m", ["2"], settings, 10)
    assert quotas.wait("g", "m", settings, 20) == SEARCH_LEASE_S - 20
    assert quotas.wait("g", "other", settings, 20) == 0
    quotas.finish("g", "2", "m")
    quotas.finish("g", "unknown", "m")
    assert quotas.wait("g", "m", settings, 20) == 0
    quotas.begin("g", "m", ["3"], settings, 20)
    assert quotas.wait("g", "m", settings, 30) == SEARCH_LEASE_S - 30
    assert quotas.wait("g", "m", settings, SEARCH_LEASE_S) == 0


def test_button_presses_are_limited_for_each_member() -> None:
    quotas = Quotas()
    assert [quotas.charge_press("g", "m", 0) for _ in range(PRESSES_PER_MINUTE)] == [0] * PRESSES_PER_MINUTE
    assert quotas.charge_press("g", "m", 0) == pytest.approx(60 / PRESSES_PER_MINUTE)
    assert quotas.charge_press("g", "n", 0) == 0


def test_finished_searches_and_unused_quotas_are_dropped() -> None:
    quotas = Quotas()
    for number in range(5000):
        try_search(quotas, number * 61.0, member=str(number))
    assert len(quotas._members._full_at) <= 1000
    assert len(quotas._running) == 1


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_no_minute_sees_more_than_twice_the_limit(pauses: list[float], limit: int) -> None:
    """Twice: a full burst, and what is refilled in that minute. A member who waits for the returned seconds may search."""
    settings = GuildSettings(searches_per_member=limit, searches_per_guild=6000, searches_at_once=20)
    quotas, now, begun = Quotas(), 0.0, []
    for number, pause in enumerate(pauses):
        now += pause
        wait = try_search(quotas, now, settings=settings)
        quotas.finish("g", f"{now}-0", "m")
        if wait:
            assert quotas.wait("g", "m", settings, now + wait + 1e-3) == 0, number
        else:
            begun.append(now)
    assert all(sum(start <= moment < start + 60 for moment in begun) <= 2 * limit for start in begun)
