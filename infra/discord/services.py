"""What the gateway's cogs work with: our ports, and what they share in this process."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime

from contracts.events import SearchAnswered
from contracts.ports import Alerts, Journal, Overseeing, Posts, State
from infra.discord.archiving.forgotten import Forgetting
from infra.discord.archiving.marks import Marks
from infra.discord.archiving.recently import Recently
from infra.discord.asking.quotas import Quotas
from infra.discord.guilds import Guilds
from infra.discord.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Ports:
    """What the composition root gives to the gateway. `answered` tells of every search that is answered from now on, by anybody."""

    journal: Journal
    state: State
    posts: Posts
    alerts: Alerts
    overseeing: Overseeing
    now: Callable[[], datetime]
    answered: Callable[[], AsyncIterator[SearchAnswered]]


@dataclass(frozen=True, slots=True)
class Services:
    """`watched` are the channels and categories that the owner of the installation named; None, or `all` among them, is every one.

    `cdn_origins` are trusted for pictures besides Discord's own.
    """

    ports: Ports
    recorder: Recorder
    guilds: Guilds
    watched: frozenset[str] | None
    forgetting: Forgetting
    marks: Marks
    recently: Recently
    quotas: Quotas = field(default_factory=Quotas)
    cdn_origins: frozenset[str] = frozenset()
