"""`/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts and routes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from contracts.errors import MapSeekError
from pipeline.monitoring.health import Check, problems


@asynccontextmanager
async def monitoring_server(host: str, port: int, registry: CollectorRegistry, checks: Mapping[str, Check]) -> AsyncIterator[int]:
    """Serve on `host:port` and yield the port (0 takes a free one). Raises MapSeekError when the port is taken."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"status": "ok"}, 200)

    async def readyz(_request: web.Request) -> web.Response:
        wrong = await problems(checks)
        return _json({"status": "not ready" if wrong else "ready", "problems": wrong}, 503 if wrong else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise MapSeekError(
                f"The monitoring port {host}:{port} cannot be used ({error.strerror}): set MAPSEEK_HTTP_PORT to another, or 0."
            ) from None
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _json(body: object, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
