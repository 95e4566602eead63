"""Discord's rate limits: a bucket for each route and major parameter, a global one, and a ban after many invalid requests."""

import hashlib
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from infra.sandbox.simulator.fields import JSON
from infra.sandbox.simulator.rest import json_response

SecondsClock = Callable[[], float]
"""Returns a time in seconds."""

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
"""Route to (requests, seconds). Discord publishes no list; these are the limits that bots commonly meet."""

_DEFAULT_LIMIT = (10, 1.0)
_MAJOR_PARAMETERS = ("guild", "channel", "application", "token")
_EXEMPT_FROM_GLOBAL = ("/interactions/", "/webhooks/")
_WITHOUT_BUCKET = "/interactions/"


@dataclass(slots=True)
class _Bucket:
    """Allows `limit` requests in a window of `window` seconds, which begins with the first request."""

    limit: int
    window: float
    used: int = 0
    ends: float = -math.inf

    def take(self, now: float) -> bool:
        """Count a request. Return False if it exceeds the limit."""
        if now >= self.ends:
            self.used, self.ends = 0, now + self.window
        self.used += 1
        return self.used <= self.limit


@dataclass(slots=True)
class RateLimits:
    """The recent requests. Unless `enabled`, only invalid requests are counted, and no request is refused."""

    enabled: bool
    global_limit: int
    invalid_limit: int
    clock: SecondsClock
    unix_time: SecondsClock
    invalid_requests: int = 0
    _buckets: dict[tuple[str, ...], _Bucket] = field(default_factory=dict)
    _invalid: deque[float] = field(default_factory=deque)

    def check(self, request: web.Request, route: str) -> web.Response | None:
        """Count a request. Return the 429 response if it exceeds a limit, otherwise None."""
        if not self.enabled:
            return None
        now = self.clock()
        if (ban_left_s := self._ban_left_s(now)) is not None:
            return web.Response(status=429, text="error code: 1015", headers={"Retry-After": f"{math.ceil(ban_left_s)}"})
        token = request.headers.get("Authorization", "")
        everything = self._buckets.setdefault(("", token), _Bucket(self.global_limit, GLOBAL_WINDOW_S))
        everything.limit = self.global_limit
        if not route.startswith(_EXEMPT_FROM_GLOBAL) and not everything.take(now):
            return _too_many_response(
                everything.ends - now, {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}, everywhere=True
            )
        bucket = self._bucket(request, route)
        if bucket is None or bucket.take(now):
            return None
        return _too_many_response(
            bucket.ends - now, {**self.build_headers(request, route), "X-RateLimit-Scope": "user"}, everywhere=False
        )

    def build_headers(self, request: web.Request, route: str) -> dict[str, str]:
        """Return the rate limit headers of a response. They describe its bucket."""
        bucket = self._bucket(request, route) if self.enabled else None
        if bucket is None:
            return {}
        left = max(0.0, bucket.ends - self.clock())
        return {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(max(0, bucket.limit - bucket.used)),
            "X-RateLimit-Reset": f"{self.unix_time() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": hashlib.md5(_route_name(request, route).encode(), usedforsecurity=False).hexdigest(),
        }

    def count_invalid(self, status: int) -> None:
        """Count a response if its status marks an invalid request. An address with too many of them is banned."""
        if status in INVALID_REQUEST_STATUSES:
            self.invalid_requests += 1
            self._invalid.append(self.clock())

    def _ban_left_s(self, now: float) -> float | None:
        """Return for how many more seconds the address is banned, or None."""
        while self._invalid and self._invalid[0] <= now - INVALID_WINDOW_S:
            self._invalid.popleft()
        over = len(self._invalid) - self.invalid_limit
        return None if over <= 0 else self._invalid[over - 1] + INVALID_WINDOW_S - now

    def _bucket(self, request: web.Request, route: str) -> _Bucket | None:
        if route.startswith(_WITHOUT_BUCKET):
            return None
        name = _route_name(request, route)
        key = (name, *(request.match_info.get(part, "") for part in _MAJOR_PARAMETERS))
        return self._buckets.setdefault(key, _Bucket(*_ROUTES.get(name, _DEFAULT_LIMIT)))


def _route_name(request: web.Request, route: str) -> str:
    return f"{request.method} {route}"


def _too_many_response(wait: float, headers: dict[str, str], *, everywhere: bool) -> web.Response:
    body: JSON = {"message": "You are being rate limited.", "retry_after": round(wait, 3), "global": everywhere}
    response = json_response(body, 429)
    response.headers.update({"Via": VIA_HEADER, "Retry-After": f"{math.ceil(wait)}", **headers})
    return response
