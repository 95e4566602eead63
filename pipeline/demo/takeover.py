"""The demo's last act: a second model takes over the archive while people go on asking; then it goes back, and forth again."""

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
"""Between two questions while the generation is built: so many members may not ask more for long."""


@dataclass(frozen=True, slots=True)
class QueryRound:
    """Questions that were asked, and the generations in which answers to them were looked for."""

    asked: Sequence[AskedQuery]
    generations: Sequence[str]

    @property
    def source(self) -> str:
        """The generations, in words."""
        return " and ".join(self.generations) or "none"

    def all_in(self, generation: str) -> bool:
        """Whether every question was answered, and from this generation alone."""
        return self.generations == [generation] and all(each.answer is not None for each in self.asked)

    @property
    def right(self) -> int:
        return sum(each.right for each in self.asked)


async def take_over(
    stage: SceneContext, settings: Settings, before: Sequence[AskedQuery], report: Path
) -> AsyncIterator[DemoScene]:
    """The scenes. `before` are the questions as they were answered so far; those about forgotten pieces are not asked again.

    The two models' comparison is written to the folder `report`.
    """
    known = [each for each in before if each.question.answer not in FORGOTTEN_SEEDS]
    questions = [each.question for each in known]

    building = asyncio.create_task(run_mapseek(settings, "replay", "--encoder", FINE_UNTRAINED_MODEL))
    meanwhile = await _asked(stage, _until_done(building, questions), QUERY_PAUSE_S)
    answers = {each.question: each.link for each in known}
    same = sum(each.link == answers[each.question] for each in meanwhile.asked)
    number = len(meanwhile.asked)
    did = (
        f"The owner has the archive embedded by a second model, from the stored pictures. Members go on asking: {number} questions "
        f"meanwhile, answered from {meanwhile.source}, {same} of them just as before"
    )
    terminal = await building
    yield DemoScene("A second model", did, terminal, terminal.good and same == number > 0 and meanwhile.all_in(FIRST_GENERATION))

    terminal = await run_mapseek(settings, "generations") + await run_mapseek(
        settings, "compare", FIRST_GENERATION, SECOND_GENERATION, "--sample", str(COMPARE_SAMPLE), "--report", str(report)
    )
    did = f"The owner asks both the same: {COMPARE_SAMPLE} archived pieces that were changed a little, and what members voted on"
    yield DemoScene("Side by side", did, terminal, terminal.good)

    terminal = await run_mapseek(settings, "activate", SECOND_GENERATION)
    yield DemoScene("Switched on", "The owner lets the new generation answer; nothing is restarted", terminal, terminal.good)
    again = await _asked(stage, questions)
    did = (
        f"{len(questions)} of the questions are asked once more, and answered from {again.source}: {again.right} rightly; from "
        f"{FIRST_GENERATION} it was {sum(each.right for each in known)}. This is the first"
    )
    first = again.asked[0]
    yield DemoScene("The same questions", did, first.answer or NO_ANSWER, again.all_in(SECOND_GENERATION), first.file)

    terminal = await run_mapseek(settings, "rollback")
    back = await _asked(stage, questions[:FEW_QUERIES])
    terminal += await run_mapseek(settings, "activate", SECOND_GENERATION)
    forth = await _asked(stage, questions[:FEW_QUERIES])
    did = (
        f"Back, and {FEW_QUERIES} questions, answered from {back.source}; "
        f"forth, and {FEW_QUERIES} more, answered from {forth.source}"
    )
    yield DemoScene(
        "Back and forth", did, terminal, terminal.good and back.all_in(FIRST_GENERATION) and forth.all_in(SECOND_GENERATION)
    )

    terminal = await run_mapseek(settings, "audit")
    did = "In the end the owner has everything checked: Discord, the log, the catalogue, the index and the stored files"
    yield DemoScene("Nothing is missing", did, terminal, terminal.good)


async def _asked(stage: SceneContext, questions: Iterable[DemoQuery], pause: float = 0.0) -> QueryRound:
    client = stage.process.container.client
    begin = await read_last_sequence(client, SEARCHES)
    asked = []
    for number, question in enumerate(questions):
        member = stage.scenery.members[question.guild, ASKERS[number % len(ASKERS)]]
        asked.append(await ask_query(stage.scenery, question, member, stage.links))
        await asyncio.sleep(pause)
    async with aclosing(read_log(client, SEARCHES, [kind_filter(SearchMatched)], after=begin)) as messages:
        facts = [recorded.fact async for message in messages if (recorded := decode_or_warn(message))]
    return QueryRound(asked, sorted({fact.generation for fact in facts if isinstance(fact, SearchMatched)}))


def _until_done(task: asyncio.Task[Terminal], questions: Sequence[DemoQuery]) -> Iterator[DemoQuery]:
    for question in cycle(questions):
        if task.done():
            return
        yield question
