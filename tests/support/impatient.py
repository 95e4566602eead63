"""`mapseek`, only impatient: what a killed process held is delivered again after two seconds, and not after thirty.

Where the environment says so it also kills itself, at a point of its work that no load of the machine moves.
"""

import os
import signal
from functools import partial
from itertools import count

from contracts.envelope import Origin
from contracts.events import Fact
from infra.discord.archive import backfill, history
from infra.nats.journal import JetStreamJournal
from pipeline import main, process
from pipeline.engine import bulk_consumer, consumers
from pipeline.engine.job import Policy

ACK_WAIT_S = 2.0

DIE_AFTER_VARIABLE = "DIES_AFTER"
"""The variable that holds the type and the number of the facts after which it dies: "image.embedded:10"."""

DIE_BEFORE_VARIABLE = "DIES_BEFORE"
"""The same for one that dies when it is about to record that fact: all that it said before has reached the server."""


PAGE_VARIABLE = "PAGE"
"""The variable that holds how many messages of a channel's past are read at once, where that is not what Discord gives."""

NICENESS_VARIABLE = "NICENESS"
"""The variable that holds how far a replay stands back: one that does so on a machine that is busy with other things never ends."""


def shorten_waits() -> None:
    consumers.ACK_WAIT_S = ACK_WAIT_S
    setattr(process, "Policy", partial(Policy, keep_alive_every=ACK_WAIT_S / 4))  # noqa: B010 - the process makes its own


def die_after(kind: str, number: int) -> None:
    """SIGKILL as soon as so many facts of a type are recorded by this process: the last of them is not acknowledged yet."""
    record, recorded = JetStreamJournal.record, count(1)

    async def record_and_die(journal: JetStreamJournal, fact: Fact, origin: Origin) -> bool:
        new = await record(journal, fact, origin)
        if new and fact.type_name() == kind and next(recorded) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return new

    setattr(JetStreamJournal, "record", record_and_die)  # noqa: B010 - a method of a class of ours, in this process alone


def die_before(kind: str, number: int) -> None:
    """SIGKILL as soon as so many facts of a type are to be recorded by this process: the last of them never is."""
    record, begun = JetStreamJournal.record, count(1)

    async def record_or_die(journal: JetStreamJournal, fact: Fact, origin: Origin) -> bool:
        if fact.type_name() == kind and next(begun) >= number:
            await journal._js._nc.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return await record(journal, fact, origin)

    setattr(JetStreamJournal, "record", record_or_die)  # noqa: B010 - a method of a class of ours, in this process alone


def set_page_size(number: int) -> None:
    for module in (history, backfill):
        module.MESSAGES_PER_PAGE = number


if __name__ == "__main__":
    shorten_waits()
    if NICENESS_VARIABLE in os.environ:
        bulk_consumer.NICENESS = int(os.environ[NICENESS_VARIABLE])
    if PAGE_VARIABLE in os.environ:
        set_page_size(int(os.environ[PAGE_VARIABLE]))
    for variable, make in ((DIE_AFTER_VARIABLE, die_after), (DIE_BEFORE_VARIABLE, die_before)):
        if variable in os.environ:
            name, _, number = os.environ[variable].partition(":")
            make(name, int(number))
    main.main()
