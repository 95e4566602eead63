"""A strict local Discord for the demo and the tests: the real client logs in to it, and nothing on our side is mocked."""

from infra.simulator.answers import Answer, Button
from infra.simulator.faults import CDN, REST, Drip, Endless, Redirect, Stall, Status, WrongLength
from infra.simulator.model import Attachment, Channel, Guild, Interaction, Member, Message, Overwrite, Role, User
from infra.simulator.permissions import ALL, DEFAULT, Permission
from infra.simulator.simulator import Simulator

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
