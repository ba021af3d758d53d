"""Endpoints: one record each, from which routes, checks of content types and the OpenAPI description are made."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vaekit.errors import VaekitError, of_system
from vaekit.runtime.memory import out_of_memory
from vaekit.serve.file_response import parts_of
from vaekit.serve.refusals import CLIENT_GONE, WRONG_TYPE, ClientGone, Refusal, busy, refusal_of
from vaekit.serve.request_body import discard
from vaekit.serve.service import Service

log = logging.getLogger("vaekit.serve")
BROWSER = ("origin", "sec-fetch-site", "sec-fetch-mode")
"""Headers that only browsers send."""
FAILED = 500
Handler = Callable[[Service, Request], Awaitable[Response]]


@dataclass(frozen=True)
class Parameter:
    """A parameter of an endpoint."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    in_path: bool = False


@dataclass(frozen=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    """With parameters in braces."""
    handle: Handler
    about: str
    """A sentence for the description."""
    answers: tuple[str, ...]
    """Media types of answers with status 200."""
    parameters: tuple[Parameter, ...] = ()
    bodies: tuple[str, ...] = ()
    """Media types of bodies. A browser sends them to another origin only after it has asked for permission."""
    untyped: bool = False
    """Whether programs, but not browsers, may leave out the type of the body, as diffusers does."""
    works: bool = False
    """Whether it needs a device, and is refused while the server stops."""


class BoundEndpoint:
    """An endpoint as an ASGI application: refusals and errors become JSON, results are sent in parts.

    Args:
        endpoint: what is called.
        service: what it works on.
    """

    def __init__(self, endpoint: Endpoint, service: Service) -> None:
        self.endpoint, self.service = endpoint, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, request, status = time.monotonic(), Request(scope, receive), CLIENT_GONE
        with self.service.request_in_progress(request):
            try:
                response = await self._answer(request)
                status = response.status_code
                await send_in_parts(response, send)
            except ClientGone:
                self.service.metrics.cancelled.inc()
            finally:
                seconds, method, route = time.monotonic() - started, self.endpoint.method, self.endpoint.path
                self.service.metrics.answered(method, route, status, seconds)
                log.info("%s %s %d %.3f s", method, route, status, seconds)

    async def _answer(self, request: Request) -> Response:
        """The result, or the refusal."""
        try:
            return await self._result(request)
        except Refusal as refusal:
            error = refusal
        except VaekitError as wrong:
            error = refusal_of(wrong)
        except ClientGone:
            raise
        except Exception as failure:
            error = unexpected(failure, self.endpoint.path)
        if not request.state.body_read:
            await discard("expect" in request.headers, request.receive)
        return error.response()

    async def _result(self, request: Request) -> Response:
        if self.endpoint.works and self.service.draining:
            raise busy("The server is stopping.", 10)
        if self.endpoint.method == "POST":
            check_type(request, self.endpoint)
        return await self.endpoint.handle(self.service, request)


def check_type(request: Request, endpoint: Endpoint) -> None:
    """Check the type of a body. Forms and plain text, which any page can send anywhere, are never accepted.

    Raises:
        Refusal: it is another one, or missing.
    """
    text = request.headers.get("content-type")
    if text is None and endpoint.untyped and not any(name in request.headers for name in BROWSER):
        return
    if text is None or text.partition(";")[0].strip().lower() not in endpoint.bodies:
        expected = ", ".join(endpoint.bodies)
        raise Refusal(WRONG_TYPE, "wrong_content_type", f"Expected a Content-Type among: {expected}.")


def unexpected(failure: Exception, route: str) -> Refusal:
    """The answer to a failure that no check foresaw; its trace goes to the log only."""
    if isinstance(failure, OSError | MemoryError) or out_of_memory(failure):
        memory = MemoryError() if out_of_memory(failure) else failure
        log.error("%s: %s", route, failure)
        if isinstance(memory, MemoryError):
            return refusal_of(of_system(memory))
        return busy("The system of the server refused an operation.", 10)
    log.error("%s failed", route, exc_info=failure)
    return Refusal(FAILED, "internal_error", "The server failed; its log says why.")


async def send_in_parts(response: Response, send: Send) -> None:
    """Send a response, waiting for the client after each part, so that memory is counted until most of it is sent."""
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    for part in parts_of(response):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
