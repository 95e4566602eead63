"""`mapseek`, only impatient: what a killed process held is delivered again after two seconds, and not after thirty."""

from functools import partial

from pipeline import cli, durables, process
from pipeline.policy import Policy

ACK_WAIT_S = 2.0


def make_impatient() -> None:
    durables.ACK_WAIT_S = ACK_WAIT_S
    setattr(process, "Policy", partial(Policy, keep_alive_every=ACK_WAIT_S / 4))  # noqa: B010 - the process makes its own


if __name__ == "__main__":
    make_impatient()
    cli.main()
