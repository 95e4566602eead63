"""Rate limits as Discord has them: a bucket for each route and major parameter, one for all of them, and a ban for who goes on."""

import hashlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from infra.sandbox.simulator.fields import JSON

SecondsClock = Callable[[], float]
"""A clock that only goes forward."""

GLOBAL_WINDOW_S = 1.0
INVALID_WINDOW_S = 600.0
INVALID_REQUEST_STATUSES = frozenset((401, 403, 429))
VIA_HEADER = "1.1 simulator"

_ROUTES: dict[str, tuple[int, float]] = {
    "POST /channels/{channel}/messages": (5, 5.0),
    "PATCH /channels/{channel}/messages/{message}": (5, 5.0),
    "DELETE /channels/{channel}/messages/{message}": (5, 1.0),
    "GET /channels/{channel}/messages": (5, 1.0),
    "PUT /channels/{channel}/messages/{message}/reactions/{emoji}/@me": (1, 0.25),
    "POST /webhooks/{application}/{token}": (5, 2.0),
    "GET /webhooks/{application}/{token}/messages/{message}": (5, 2.0),
    "PATCH /webhooks/{application}/{token}/messages/{message}": (5, 2.0),
    "DELETE /webhooks/{application}/{token}/messages/{message}": (5, 2.0),
}
"""How many requests in how many seconds; Discord publishes no list, so these are what bots commonly meet."""

_OTHERS = (10, 1.0)
_MAJOR = ("guild", "channel", "application", "token")
_NOT_GLOBAL = ("/interactions/", "/webhooks/")
_WITHOUT_BUCKET = "/interactions/"


@dataclass(slots=True)
class _Bucket:
    """So many requests in a window that begins with the first one."""

    limit: int
    window: float
    used: int = 0
    ends: float = -math.inf

    def take(self, now: float) -> bool:
        """Count a request; False if it is one too many."""
        if now >= self.ends:
            self.used, self.ends = 0, now + self.window
        self.used += 1
        return self.used <= self.limit


@dataclass(slots=True)
class RateLimits:
    """What has been asked lately, by whom. Unless `enabled`, only invalid requests are counted, and nothing is refused."""

    enabled: bool
    global_limit: int
    invalid_limit: int
    clock: SecondsClock
    unix_time: SecondsClock
    invalid_requests: int = 0
    _buckets: dict[tuple[str, ...], _Bucket] = field(default_factory=dict)
    _invalid: deque[float] = field(default_factory=deque)

    def refusal(self, request: web.Request, route: str) -> web.Response | None:
        """The 429 that a request meets, or None: then it is counted."""
        if not self.enabled:
            return None
        now = self.clock()
        if (banned_for := self._banned_for(now)) is not None:
            return web.Response(status=429, text="error code: 1015", headers={"Retry-After": f"{math.ceil(banned_for)}"})
        token = request.headers.get("Authorization", "")
        everything = self._buckets.setdefault(("", token), _Bucket(self.global_limit, GLOBAL_WINDOW_S))
        everything.limit = self.global_limit
        if not route.startswith(_NOT_GLOBAL) and not everything.take(now):
            return _too_many(everything.ends - now, {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}, everywhere=True)
        bucket = self._bucket(request, route)
        if bucket is None or bucket.take(now):
            return None
        return _too_many(bucket.ends - now, {**self.headers(request, route), "X-RateLimit-Scope": "user"}, everywhere=False)

    def headers(self, request: web.Request, route: str) -> dict[str, str]:
        """What an answer tells of its bucket."""
        bucket = self._bucket(request, route) if self.enabled else None
        if bucket is None:
            return {}
        left = max(0.0, bucket.ends - self.clock())
        return {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(max(0, bucket.limit - bucket.used)),
            "X-RateLimit-Reset": f"{self.unix_time() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": hashlib.md5(_name(request, route).encode(), usedforsecurity=False).hexdigest(),
        }

    def count(self, status: int) -> None:
        """Count an answer that an address may not get too many of."""
        if status in INVALID_REQUEST_STATUSES:
            self.invalid_requests += 1
            self._invalid.append(self.clock())

    def _banned_for(self, now: float) -> float | None:
        """How many seconds the address is still shut out."""
        while self._invalid and self._invalid[0] <= now - INVALID_WINDOW_S:
            self._invalid.popleft()
        over = len(self._invalid) - self.invalid_limit
        return None if over <= 0 else self._invalid[over - 1] + INVALID_WINDOW_S - now

    def _bucket(self, request: web.Request, route: str) -> _Bucket | None:
        if route.startswith(_WITHOUT_BUCKET):
            return None
        name = _name(request, route)
        key = (name, *(request.match_info.get(part, "") for part in _MAJOR))
        return self._buckets.setdefault(key, _Bucket(*_ROUTES.get(name, _OTHERS)))


def _name(request: web.Request, route: str) -> str:
    return f"{request.method} {route}"


def _too_many(wait: float, headers: dict[str, str], *, everywhere: bool) -> web.Response:
    body: JSON = {"message": "You are being rate limited.", "retry_after": round(wait, 3), "global": everywhere}
    head = {"Via": VIA_HEADER, "Retry-After": f"{math.ceil(wait)}", "Content-Type": "application/json", **headers}
    return web.Response(status=429, headers=head, body=orjson.dumps(body))
