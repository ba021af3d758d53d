"""Read bodies of requests whose length is known, within time and memory limits."""

import asyncio

from starlette.requests import Request
from starlette.types import Receive

from vaekit.serve.refusals import BAD, LENGTH_REQUIRED, TIMEOUT, TOO_LARGE, WRONG_TYPE, ClientGone, Refusal
from vaekit.serve.settings import Limits

DISCARDING, GAP = 0.5, 0.1
"""Seconds for which the rest of a refused body is read, in total and without any byte."""


def body_length(request: Request) -> int:
    """The length of a body in bytes, from the headers.

    Raises:
        Refusal: there is none, as of a body in chunks without an end, or the body is compressed.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal(WRONG_TYPE, "compressed_body", "Bodies are not compressed.")
    text = request.headers.get("content-length")
    if text is None or "transfer-encoding" in request.headers:
        raise Refusal(LENGTH_REQUIRED, "length_required", "The header Content-Length is required.")
    if not (text.isascii() and text.isdigit()):
        raise Refusal(BAD, "bad_request", "The header Content-Length is a number of bytes.")
    return int(text[:20])


def check_length(length: int, most: int) -> None:
    """Check the length of a body before it is read.

    Raises:
        Refusal: it is longer than `most` bytes, or empty.
    """
    if length > most:
        raise Refusal(TOO_LARGE, "too_large", f"The body has {length:,} bytes; expected at most {most:,}.")
    if length == 0:
        raise Refusal(BAD, "bad_request", "The body is empty.")


async def read_body(request: Request, length: int, limits: Limits) -> bytearray:
    """Read a body of this length.

    Raises:
        Refusal: it does not arrive in time.
        ClientGone: the client closed the connection.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(limits.idle_seconds + length / limits.least_rate):
            while True:
                async with asyncio.timeout(limits.idle_seconds):
                    message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
        request.state.body_read = True
    except TimeoutError:
        raise Refusal(TIMEOUT, "timeout", "The body did not arrive in time.", headers={"Connection": "close"}) from None
    if len(body) != length:
        raise Refusal(BAD, "bad_request", f"The body has {len(body):,} bytes, and not {length:,}.")
    return body


async def discard(waits: bool, receive: Receive) -> None:
    """Read for a short time what is left of the body of a refused request, and forget it.

    A connection that is closed while its client still sends is reset, and the client may lose the answer.

    Args:
        waits: whether the client waits for a permission to send; then nothing is read.
        receive: of the request.
    """
    if waits:
        return
    try:
        async with asyncio.timeout(DISCARDING):
            while True:
                async with asyncio.timeout(GAP):
                    message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
