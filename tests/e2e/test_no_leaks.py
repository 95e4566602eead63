"""No answer shows anything that its readers may not read: in any guild, with any roles and threads, after any change.

Also, askers find everything that they search for and may read. `tests/support/rules.py` defines what they may read, from Discord's
documentation and apart from our own code.
"""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from infra.clip.shipped import SHIPPED_TAGS, SMALL_MODEL
from infra.sandbox.simulator import Guild
from pipeline.generations.encoders import open_model_encoder
from pipeline.settings import Settings
from tests.support.leak_plans import EXAMPLE_PLANS, PIECES, Plan, draw_plans
from tests.support.leak_play import LeakGuild, Ledger, found_guild
from tests.support.leak_steps import take_step
from tests.support.leaks import KnowsPieces
from tests.support.world import whole_world

QUICK = settings(
    max_examples=6,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class PlanPlayer:
    """One MapSeek for all plans. Its event loop is paused while hypothesis draws the next plan."""

    def __init__(self, runner: asyncio.Runner, ledger: Ledger, elsewhere: Guild) -> None:
        self.runner, self.ledger, self.elsewhere = runner, ledger, elsewhere

    def play(self, plan: Plan) -> None:
        self.runner.run(self._play(plan))

    async def _play(self, plan: Plan) -> None:
        company = await found_guild(self.ledger, plan, self.elsewhere)
        for step in plan.steps:
            await take_step(company, step)


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlanPlayer]:
    with asyncio.Runner() as runner:
        encoder = runner.run(open_model_encoder(SMALL_MODEL, SHIPPED_TAGS[SMALL_MODEL], "auto", Settings(_env_file=None)))  # type: ignore[call-arg]
        opening = whole_world(tmp_path_factory.mktemp("leaks"), [KnowsPieces(encoder)])
        world = runner.run(opening.__aenter__())
        ledger = Ledger(world)
        yield PlanPlayer(runner, ledger, runner.run(_other_guild(ledger)))
        runner.run(opening.__aexit__(None, None, None))
        runner.run(encoder.close())


async def _other_guild(ledger: Ledger) -> Guild:
    """Create a guild with a post of every piece, which no answer in another guild may show."""
    simulator = ledger.world.discord.simulator
    guild = simulator.add_guild("Elsewhere")
    company = LeakGuild(ledger, guild, [], [], False, frozenset())
    company.rooms.append(simulator.add_text_channel(guild, "elsewhere"))
    for piece in range(PIECES + 1):
        await company.post(company.rooms[0], [piece], None)
    await company.settle()
    return guild


@pytest.mark.parametrize("plan", EXAMPLE_PLANS.values(), ids=EXAMPLE_PLANS)
def test_no_known_way_to_leak_is_open(player: PlanPlayer, plan: Plan) -> None:
    player.play(plan)


@QUICK
@given(plan=draw_plans(12))
def test_nobody_is_shown_what_they_may_not_read_and_everybody_finds_what_they_may(player: PlanPlayer, plan: Plan) -> None:
    player.play(plan)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(QUICK, max_examples=300, derandomize=False, phases=list(Phase))
@given(plan=draw_plans(16))
def test_nobody_is_shown_what_they_may_not_read_in_many_more_guilds(player: PlanPlayer, plan: Plan) -> None:
    player.play(plan)
