"""`mapseek`, only impatient: what a killed process held is delivered again after two seconds, and not after thirty.

Where the environment says so it also kills itself, at a point of its work that no load of the machine moves.
"""

import os
import signal
from functools import partial
from itertools import count

from contracts.envelope import Origin
from contracts.events import Fact
from infra.nats.journal import JetStreamJournal
from pipeline import cli, process
from pipeline.engine import consumers
from pipeline.engine.job import Policy

ACK_WAIT_S = 2.0

DIES_AFTER = "DIES_AFTER"
"""The variable that holds the type and the number of the facts after which it dies: "image.embedded:10"."""


def make_impatient() -> None:
    consumers.ACK_WAIT_S = ACK_WAIT_S
    setattr(process, "Policy", partial(Policy, keep_alive_every=ACK_WAIT_S / 4))  # noqa: B010 - the process makes its own


def make_mortal(kind: str, number: int) -> None:
    """SIGKILL as soon as so many facts of a type are recorded by this process: the last of them is not acknowledged yet."""
    record, recorded = JetStreamJournal.record, count(1)

    async def record_and_die(journal: JetStreamJournal, fact: Fact, origin: Origin) -> bool:
        new = await record(journal, fact, origin)
        if new and fact.type_name() == kind and next(recorded) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return new

    setattr(JetStreamJournal, "record", record_and_die)  # noqa: B010 - a method of a class of ours, in this process alone


if __name__ == "__main__":
    make_impatient()
    if DIES_AFTER in os.environ:
        name, _, number = os.environ[DIES_AFTER].partition(":")
        make_mortal(name, int(number))
    cli.main()
