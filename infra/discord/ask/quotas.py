"""Quotas: how many searches a minute a member and a guild may make, and how many a member may have running at once.

The one gateway process keeps them in memory, so a restart resets them. Moments are seconds of the caller's clock.
"""

from contracts.state import GuildSettings

MINUTE_S = 60.0
SEARCH_LEASE_S = 60.0
"""A search that did not end counts as running for so long."""
PRESSES_PER_MINUTE = 30
"""The most buttons (pages, votes) that a member may press in a minute."""

QuotaKey = tuple[str, str]


class TokenBuckets:
    """Token buckets that hold one minute's worth. Each is kept as the moment at which it is full again."""

    def __init__(self) -> None:
        self._full_at: dict[QuotaKey, float] = {}

    def wait(self, who: QuotaKey, per_minute: int, now: float) -> float:
        """Return the seconds until a token is available."""
        missing = max(self._full_at.get(who, now) - now, 0.0)
        return max(round(missing + MINUTE_S / per_minute - MINUTE_S, 6), 0.0)

    def take(self, who: QuotaKey, per_minute: int, now: float, count: int = 1) -> None:
        """Take tokens, even more than there are. The next caller waits for the debt."""
        self._drop_full(now)
        self._full_at[who] = max(self._full_at.get(who, now), now) + count * MINUTE_S / per_minute

    def _drop_full(self, now: float) -> None:
        if len(self._full_at) >= 1000:
            self._full_at = {who: moment for who, moment in self._full_at.items() if moment > now}


class Quotas:
    """What every member and guild has left."""

    def __init__(self) -> None:
        self._members = TokenBuckets()
        self._guilds = TokenBuckets()
        self._presses = TokenBuckets()
        self._running: dict[QuotaKey, dict[str, float]] = {}

    def wait(self, guild_id: str, member_id: str, settings: GuildSettings, now: float) -> float:
        """Return the seconds until this member may search again, 0 for now."""
        who = (guild_id, member_id)
        ends = sorted(end for end in self._running.get(who, {}).values() if end > now)
        at_once = ends[len(ends) - settings.searches_at_once] - now if len(ends) >= settings.searches_at_once else 0.0
        return max(
            at_once,
            self._members.wait(who, settings.searches_per_member, now),
            self._guilds.wait((guild_id, ""), settings.searches_per_guild, now),
        )

    def begin(self, guild_id: str, member_id: str, search_ids: list[str], settings: GuildSettings, now: float) -> None:
        """Count searches that begin.

        Further pictures of one message may exceed what is left; then the next search waits longer.
        """
        who = (guild_id, member_id)
        self._members.take(who, settings.searches_per_member, now, len(search_ids))
        self._guilds.take((guild_id, ""), settings.searches_per_guild, now, len(search_ids))
        self._running = {each: leases for each, leases in self._running.items() if any(end > now for end in leases.values())}
        self._running.setdefault(who, {}).update(dict.fromkeys(search_ids, now + SEARCH_LEASE_S))

    def finish(self, guild_id: str, search_id: str, member_id: str) -> None:
        """Note that a search has ended."""
        self._running.get((guild_id, member_id), {}).pop(search_id, None)

    def charge_press(self, guild_id: str, member_id: str, now: float) -> float:
        """Count a press of a button and return 0, or return the seconds until the next press is allowed."""
        who = (guild_id, member_id)
        wait = self._presses.wait(who, PRESSES_PER_MINUTE, now)
        if not wait:
            self._presses.take(who, PRESSES_PER_MINUTE, now)
        return wait
