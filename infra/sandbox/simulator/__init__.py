"""A strict local Discord for the demo and the tests. The real disnake client logs in to it; nothing on our side is mocked."""

from infra.sandbox.simulator.client import Button, VisibleAnswer
from infra.sandbox.simulator.faults import CDN_PATHS, REST_PATHS, Drip, Endless, Redirect, Stall, Status, WrongLength
from infra.sandbox.simulator.model import (
    ALL_PERMISSIONS,
    DEFAULT_PERMISSIONS,
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
    "ALL_PERMISSIONS",
    "CDN_PATHS",
    "DEFAULT_PERMISSIONS",
    "REST_PATHS",
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
    "VisibleAnswer",
    "WrongLength",
]
