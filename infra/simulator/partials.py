"""Channels and members as an interaction names them: less than the whole object, but with permissions computed by Discord."""

from infra.simulator import payloads, places
from infra.simulator.errors import JSON
from infra.simulator.model import DIRECT, Channel, Member
from infra.simulator.permissions import permissions_in


def partial_channel(place: Channel, member: Member) -> JSON:
    """A channel or thread with what a member may do in it; of a direct message nothing of the kind."""
    whole = places.channel(place)
    if place.kind == DIRECT:
        return whole
    seen = {key: value for key, value in whole.items() if key not in ("permission_overwrites", "member")}
    return seen | {"permissions": str(int(permissions_in(place, member)))}


def resolved_member(member: Member, channel: Channel) -> JSON:
    """A member that an option names, without its user, with what it may do where the command was used."""
    partial = {key: value for key, value in payloads.partial_member(member).items() if key not in ("deaf", "mute")}
    return partial | {"permissions": str(int(permissions_in(channel, member)))}
