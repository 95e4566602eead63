import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.state import GuildSettings
from infra.discord.ask.quotas import PRESSES_PER_MINUTE, SEARCH_LEASE_S, Quotas

SETTINGS = GuildSettings(searches_per_member=3, searches_per_guild=5, searches_at_once=20)


def ask(
    quotas: Quotas, now: float, *, guild: str = "g", member: str = "m", count: int = 1, settings: GuildSettings = SETTINGS
) -> float:
    """Ask if there is any search left; the seconds to wait otherwise."""
    wait = quotas.wait(guild, member, settings, now)
    if not wait:
        quotas.begin(guild, member, [f"{now}-{number}" for number in range(count)], settings, now)
    return wait


def test_a_burst_then_one_after_the_other() -> None:
    quotas = Quotas()
    assert [ask(quotas, 100) for _ in range(4)] == [0, 0, 0, 20]
    assert ask(quotas, 119) == 1
    assert ask(quotas, 120) == 0
    assert ask(quotas, 120) == 20


def test_others_have_their_own_but_share_the_guilds() -> None:
    quotas = Quotas()
    assert [ask(quotas, 0, member="a") for _ in range(3)] == [0, 0, 0]
    assert [ask(quotas, 0, member="b") for _ in range(3)] == [0, 0, 12]
    assert ask(quotas, 0, guild="h", member="a") == 0


def test_many_pictures_of_one_message_are_paid_for_later() -> None:
    quotas = Quotas()
    roomy = SETTINGS.model_copy(update={"searches_per_guild": 100})
    assert ask(quotas, 0, count=10, settings=roomy) == 0
    assert ask(quotas, 0, settings=roomy) == 160
    assert ask(quotas, 160, settings=roomy) == 0


def test_only_so_many_at_once_until_they_end_or_are_given_up() -> None:
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


def test_pages_may_be_turned_often_but_not_without_end() -> None:
    quotas = Quotas()
    assert [quotas.charge_press("g", "m", 0) for _ in range(PRESSES_PER_MINUTE)] == [0] * PRESSES_PER_MINUTE
    assert quotas.charge_press("g", "m", 0) == pytest.approx(60 / PRESSES_PER_MINUTE)
    assert quotas.charge_press("g", "n", 0) == 0


def test_what_is_over_is_forgotten() -> None:
    quotas = Quotas()
    for number in range(5000):
        ask(quotas, number * 61.0, member=str(number))
    assert len(quotas._members._full_at) <= 1000
    assert len(quotas._running) == 1


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_no_minute_sees_more_than_twice_the_limit(pauses: list[float], limit: int) -> None:
    """A burst, and what comes back meanwhile; and whoever waits as long as they were told may ask."""
    settings = GuildSettings(searches_per_member=limit, searches_per_guild=6000, searches_at_once=20)
    quotas, now, asked = Quotas(), 0.0, []
    for number, pause in enumerate(pauses):
        now += pause
        wait = ask(quotas, now, settings=settings)
        quotas.finish("g", f"{now}-0", "m")
        if wait:
            assert quotas.wait("g", "m", settings, now + wait + 1e-3) == 0, number
        else:
            asked.append(now)
    assert all(sum(start <= moment < start + 60 for moment in asked) <= 2 * limit for start in asked)
