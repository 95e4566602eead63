"""The demo's last act: a second model takes over the archive while members search; then the first again, then the second."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from contracts.events import SearchMatched
from contracts.subjects import SEARCHES, kind_filter
from infra.clip.calibration import FINE_UNTRAINED_MODEL
from infra.nats.reader import decode_or_warn, read_last_sequence, read_log
from pipeline.demo.play import AskedQuery, ask_query
from pipeline.demo.scenes import FORGOTTEN_SEEDS, DemoScene, SceneContext
from pipeline.demo.script import DEMO_MEMBERS, FORGETFUL_MEMBER, DemoQuery
from pipeline.demo.terminal import Terminal, run_mapseek
from pipeline.settings import Settings

FIRST_GENERATION, SECOND_GENERATION = "g1", "g2"
COMPARE_SAMPLE = 10
FEW_QUERIES = 4
NO_ANSWER = Terminal("No answer came in time.", good=False)
ASKERS = [name for name in DEMO_MEMBERS if name != FORGETFUL_MEMBER]
QUERY_PAUSE_S = 0.75
"""The pause between two searches while the generation is built: more searches by so few members would soon exceed their quotas."""


@dataclass(frozen=True, slots=True)
class QueryRound:
    """Queries that were searched for, and the generations that answered them."""

    asked: Sequence[AskedQuery]
    generations: Sequence[str]

    @property
    def source(self) -> str:
        """The generations, in words."""
        return " and ".join(self.generations) or "none"

    def all_in(self, generation: str) -> bool:
        """Whether every query was answered, and only by this generation."""
        return self.generations == [generation] and all(each.answer is not None for each in self.asked)

    @property
    def right(self) -> int:
        return sum(each.right for each in self.asked)


async def take_over(
    stage: SceneContext, settings: Settings, before: Sequence[AskedQuery], report: Path
) -> AsyncIterator[DemoScene]:
    """Play the scenes. `before` are the queries that were answered so far. Those about forgotten pieces are left out here.

    The comparison of the two models is written to the folder `report`.
    """
    known = [each for each in before if each.query.answer not in FORGOTTEN_SEEDS]
    queries = [each.query for each in known]

    building = asyncio.create_task(run_mapseek(settings, "replay", "--encoder", FINE_UNTRAINED_MODEL))
    during = await _ask_round(stage, _until_done(building, queries), QUERY_PAUSE_S)
    answers = {each.query: each.link for each in known}
    same = sum(each.link == answers[each.query] for each in during.asked)
    number = len(during.asked)
    did = (
        "The owner has a second model embed the archive, from the stored pictures. Members keep searching: "
        f"{number} searches are answered from {during.source} in that time, {same} of them just as before"
    )
    terminal = await building
    yield DemoScene("A second model", did, terminal, terminal.good and same == number > 0 and during.all_in(FIRST_GENERATION))

    terminal = await run_mapseek(settings, "generations") + await run_mapseek(
        settings, "compare", FIRST_GENERATION, SECOND_GENERATION, "--sample", str(COMPARE_SAMPLE), "--report", str(report)
    )
    did = f"The owner runs the same queries in both: {COMPARE_SAMPLE} archived pieces, changed a little, and searches with votes"
    yield DemoScene("Side by side", did, terminal, terminal.good)

    terminal = await run_mapseek(settings, "activate", SECOND_GENERATION)
    yield DemoScene("Switched on", "The owner activates the new generation; nothing is restarted", terminal, terminal.good)
    again = await _ask_round(stage, queries)
    did = (
        f"{len(queries)} of the searches are made again, and answered from {again.source}: {again.right} rightly; from "
        f"{FIRST_GENERATION} it was {sum(each.right for each in known)}. This is the first"
    )
    first = again.asked[0]
    yield DemoScene("The same searches", did, first.answer or NO_ANSWER, again.all_in(SECOND_GENERATION), first.file)

    terminal = await run_mapseek(settings, "rollback")
    back = await _ask_round(stage, queries[:FEW_QUERIES])
    terminal += await run_mapseek(settings, "activate", SECOND_GENERATION)
    forth = await _ask_round(stage, queries[:FEW_QUERIES])
    did = (
        f"The owner rolls back: {FEW_QUERIES} searches are answered from {back.source}. Then the owner activates the new "
        f"generation again: {FEW_QUERIES} more are answered from {forth.source}"
    )
    yield DemoScene(
        "Back and forth", did, terminal, terminal.good and back.all_in(FIRST_GENERATION) and forth.all_in(SECOND_GENERATION)
    )

    terminal = await run_mapseek(settings, "audit")
    did = "In the end the owner audits everything: Discord, the log, the catalogue, the index and the stored files"
    yield DemoScene("Nothing is missing", did, terminal, terminal.good)


async def _ask_round(stage: SceneContext, queries: Iterable[DemoQuery], pause: float = 0.0) -> QueryRound:
    client = stage.process.container.client
    begin = await read_last_sequence(client, SEARCHES)
    asked = []
    for number, query in enumerate(queries):
        member = stage.scenery.members[query.guild, ASKERS[number % len(ASKERS)]]
        asked.append(await ask_query(stage.scenery, query, member, stage.links))
        await asyncio.sleep(pause)
    async with aclosing(read_log(client, SEARCHES, [kind_filter(SearchMatched)], after=begin)) as messages:
        facts = [recorded.fact async for message in messages if (recorded := decode_or_warn(message))]
    return QueryRound(asked, sorted({fact.generation for fact in facts if isinstance(fact, SearchMatched)}))


def _until_done(task: asyncio.Task[Terminal], queries: Sequence[DemoQuery]) -> Iterator[DemoQuery]:
    for query in cycle(queries):
        if task.done():
            return
        yield query
