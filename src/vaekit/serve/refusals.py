"""Refusals: requests that are answered with a status of 4xx or 503 and a JSON object."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from vaekit.errors import (
    CannotFetch,
    MissingPackage,
    NotFound,
    OutOfMemory,
    TooLittleMemory,
    VaekitError,
    printable,
)
from vaekit.json import dumps
from vaekit.serve.public_text import without_paths

BAD, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TIMEOUT = 400, 401, 403, 404, 408
LENGTH_REQUIRED, TOO_LARGE, WRONG_TYPE, UNUSABLE, BUSY = 411, 413, 415, 422, 503
CLIENT_GONE = 499
"""For logs and metrics only: nobody is there to read it."""
STATUS: tuple[tuple[type[VaekitError], int], ...] = (
    (NotFound, NOT_FOUND),
    (TooLittleMemory, TOO_LARGE),
    (OutOfMemory, BUSY),
    (MissingPackage, UNUSABLE),
    (CannotFetch, UNUSABLE),
)
"""Errors of vaekit whose status is not that of unusable content."""


class Refusal(Exception):
    """A request that is not carried out.

    Args:
        status: of HTTP.
        code: a short name for programs.
        message: one or two sentences for people.
        retry_after: seconds after which it may succeed; None if it will not.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    def response(self) -> Response:
        """The answer to the client."""
        return json_response({"error": self.code, "message": self.message}, self.status, self.headers)


class ClientGone(Exception):
    """The client closed the connection before there was an answer."""


def bad_query(message: str) -> Refusal:
    """The refusal of a parameter, or of a combination of them."""
    return Refusal(BAD, "bad_request", message)


def busy(message: str, retry_after: int) -> Refusal:
    """The refusal of what may succeed later."""
    return Refusal(BUSY, "busy", message, retry_after)


def refusal_of(error: VaekitError) -> Refusal:
    """The refusal of a request that raised an error of vaekit."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), UNUSABLE)
    message = without_paths(" ".join(part for part in (error.found, error.expected) if part))
    return Refusal(status, type(error).__name__, printable(message, 1000), 5 if status == BUSY else None)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as strict JSON."""
    return Response(dumps(value, indent=None) + "\n", status, dict(headers or {}), "application/json")
