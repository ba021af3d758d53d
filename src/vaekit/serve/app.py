"""The ASGI application: routes of all endpoints behind the guard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from vaekit.serve.documents import DOCUMENTS, FILES
from vaekit.serve.endpoint import BoundEndpoint
from vaekit.serve.endpoints import ENDPOINTS
from vaekit.serve.refusals import Refusal
from vaekit.serve.request_body import discard
from vaekit.serve.security import Guard
from vaekit.serve.service import Service

METHODS, TYPES, AGE = "GET, POST", "content-type, authorization", "600"
"""What pages of an allowed origin may send, and for how many seconds they may remember it."""
NO_CONTENT = 204


def make_app(service: Service) -> ASGIApp:
    """The application of a service. When it starts, the default VAE is loaded; when it stops, work is finished."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.close()

    routes = [
        Route(endpoint.path, BoundEndpoint(endpoint, service), methods=[endpoint.method])
        for endpoint in (*ENDPOINTS, *DOCUMENTS, FILES)
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: refused})
    app.router.redirect_slashes = False
    return Guard(app, service.options, service.metrics)


async def refused(request: Request, error: Exception) -> Response:
    """The answer for a path or a method that does not exist; to a preflight request of an allowed origin, what pages
    may send."""
    assert isinstance(error, HTTPException)
    if request.method == "OPTIONS" and request.headers.get("origin"):  # the guard has let it in
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": TYPES,
            "Access-Control-Max-Age": AGE,
        }
        return Response(status_code=NO_CONTENT, headers=headers)
    await discard("expect" in request.headers, request.receive)
    headers = dict(error.headers or {})
    return Refusal(error.status_code, "not_found", "There is no such path or method here.", headers=headers).response()
