"""A strict local Discord for the demo and the tests: the real client logs in to it, and nothing on our side is mocked."""

from infra.sandbox.simulator.client import Answer, Button
from infra.sandbox.simulator.faults import CDN, REST, Drip, Endless, Redirect, Stall, Status, WrongLength
from infra.sandbox.simulator.model import (
    ALL,
    DEFAULT,
    Attachment,
    Channel,
    Guild,
    Interaction,
    Member,
    Message,
    Overwrite,
    Permission,
    Role,
    User,
)
from infra.sandbox.simulator.simulator import Simulator

__all__ = [
    "ALL",
    "CDN",
    "DEFAULT",
    "REST",
    "Answer",
    "Attachment",
    "Button",
    "Channel",
    "Drip",
    "Endless",
    "Guild",
    "Interaction",
    "Member",
    "Message",
    "Overwrite",
    "Permission",
    "Redirect",
    "Role",
    "Simulator",
    "Stall",
    "Status",
    "User",
    "WrongLength",
]
