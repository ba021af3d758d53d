"""Connections of clients that send no complete head of a request or no HTTP, take no answers, or are too many."""

import asyncio
import json
from contextlib import suppress
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from vaekit.serve.refusals import BAD, BUSY, TIMEOUT
from vaekit.serve.settings import Limits

REASONS = {BAD: b"Bad Request", TIMEOUT: b"Request Timeout", BUSY: b"Service Unavailable"}


class Connection(H11Protocol):
    """uvicorn's protocol, with time limits for the head of a request and for taking an answer, a limit of connections,
    and errors in JSON.

    uvicorn makes one for each connection; a subclass made by `with_limits` holds the limits.
    """

    limits: ClassVar[Limits] = Limits()
    _head: asyncio.TimerHandle | None = None
    """Ends the wait for the head of a request."""
    _untaken: asyncio.TimerHandle | None = None
    """Ends the wait for a client that does not take its answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(BUSY, "busy", "There are too many connections.")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._taken()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:  # the head has arrived
            self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        if self._head is None and self.conn.their_state is h11.IDLE:  # the next request of a connection
            self._await_head()
        super().data_received(data)

    def pause_writing(self) -> None:
        """Called when much of an answer waits for the client, which has to take it in time."""
        super().pause_writing()
        if self._untaken is None:
            self._untaken = self.loop.call_later(self.limits.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def send_400_response(self, msg: str) -> None:
        self._stop_waiting()
        self._refuse(BAD, "bad_request", msg)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head = self.loop.call_later(self.limits.headers_seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _taken(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _late(self) -> None:
        self._head = None
        self._refuse(TIMEOUT, "timeout", "The request did not arrive in time.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer without a request, and close the connection."""
        if self.transport.is_closing():
            return
        body = json.dumps({"error": code, "message": message}).encode() + b"\n"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        with suppress(h11.LocalProtocolError):  # raised if an answer has started already, which is then cut off
            events = (
                h11.Response(status_code=status, headers=headers, reason=REASONS[status]),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self.transport.close()


def with_limits(limits: Limits) -> type[Connection]:
    """The class of connections with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits})
