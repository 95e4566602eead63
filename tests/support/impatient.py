"""`mapseek` with a short ack wait: the messages of a killed process are delivered again after two seconds, not after thirty.

Environment variables can make it kill itself at an exact point of its work, which does not depend on the load of the machine.
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
"""The variable with the type and number of facts after which the process kills itself: "image.embedded:10"."""

DIE_BEFORE_VARIABLE = "DIES_BEFORE"
"""The same, but it kills itself before it records the last of these facts. All that it sent earlier has reached the server."""


PAGE_VARIABLE = "PAGE"
"""The variable with the number of messages on a page of a channel's history, if it differs from Discord's."""

NICENESS_VARIABLE = "NICENESS"
"""The variable with the niceness of a replay. A replay with a high niceness never ends on a busy machine."""


def shorten_waits() -> None:
    consumers.ACK_WAIT_S = ACK_WAIT_S
    setattr(process, "Policy", partial(Policy, keep_alive_every=ACK_WAIT_S / 4))  # noqa: B010 - the process builds its own policy


def die_after(kind: str, number: int) -> None:
    """Send SIGKILL as soon as this process has recorded `number` facts of a type.

    The message of the last one is not acknowledged yet.
    """
    record, recorded = JetStreamJournal.record, count(1)

    async def record_and_die(journal: JetStreamJournal, fact: Fact, origin: Origin) -> bool:
        new = await record(journal, fact, origin)
        if new and fact.type_name() == kind and next(recorded) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return new

    setattr(JetStreamJournal, "record", record_and_die)  # noqa: B010 - a method of a class of ours, in this process alone


def die_before(kind: str, number: int) -> None:
    """Send SIGKILL before this process records the `number`th fact of a type. That fact is never recorded."""
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
