"""Who may send requests: checks of Host, Origin and token before anything else, and headers of every answer."""

import base64
import binascii
import hmac
import ipaddress
import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vaekit.serve.metrics import Metrics
from vaekit.serve.refusals import BAD, FORBIDDEN, UNAUTHORIZED, Refusal
from vaekit.serve.request_body import discard
from vaekit.serve.settings import ServeOptions

log = logging.getLogger("vaekit.serve")
PUBLIC = frozenset({"/health", "/ready"})
"""Paths that need no token. Monitors ask for them."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
EXPOSED = "shape, dtype, retry-after, x-vaekit-vae, x-vaekit-fingerprint, x-vaekit-latents, x-vaekit-version"
READING = ("GET", "HEAD")


class Guard:
    """Refuses requests that another site made a browser send, or that carry no token.

    - The Host header is one of the server's names, whatever the address: a name that was pointed at this machine for an
      attack (DNS rebinding) is none of them. For an address of any interface, it may be the address that the client
      reached.
    - The Origin header, if there is one, is that of the Host header or one that the operator named. Requests that a
      browser marks as sent by another site are refused without one, too, unless they only open a page.
    - The token, if there is one, is given as `Bearer TOKEN`, or as the password of `Basic`, which clients that know
      only URLs can send: http://vaekit:TOKEN@host/.

    Args:
        app: what is guarded.
        options: names, origins and the token.
        metrics: counts refusals.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._hosts = options.allowed_hosts
        self._origins = frozenset(options.origins)
        self._token = None if options.token is None else options.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin if origin in self._origins else None

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_headers(MutableHeaders(scope=message), allowed)
            await send(message)

        try:
            self._check(scope, headers, allowed)
        except Refusal as refusal:
            self._metrics.refused.labels(refusal.code).inc()
            log.info("%s: %d", refusal.code, refusal.status)
            await discard("expect" in headers, receive)
            await refusal.response()(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)

    def _check(self, scope: Scope, headers: Headers, allowed: str | None) -> None:
        """Raise a refusal unless the request may be carried out."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0], scope):
            raise Refusal(BAD, "unknown_host", "The Host header is none of this server's names.")
        origins = headers.getlist("origin")
        if origins and allowed is None and not (len(origins) == 1 and is_origin_of(origins[0], hosts[0])):
            raise Refusal(FORBIDDEN, "foreign_origin", "Pages of other origins may not use this server.")
        opens_page = headers.get("sec-fetch-mode") == "navigate" and scope["method"] in READING
        if allowed is None and headers.get("sec-fetch-site") == "cross-site" and not opens_page:
            raise Refusal(FORBIDDEN, "foreign_origin", "Pages of other origins may not use this server.")
        preflight = allowed is not None and scope["method"] == "OPTIONS"
        if self._token is None or scope["path"] in PUBLIC or preflight:
            return
        if not hmac.compare_digest(token_in(headers.get("authorization", "")), self._token):
            raise Refusal(
                UNAUTHORIZED,
                "unauthorized",
                "This server requires its token, as a bearer token or as the password of basic authentication.",
                headers={"WWW-Authenticate": 'Basic realm="vaekit"'},
            )

    def _is_ours(self, host: str, scope: Scope) -> bool:
        """Whether a Host header names this server."""
        name = host_name(host)
        if name in self._hosts:
            return True
        server = scope.get("server")
        try:
            return server is not None and ipaddress.ip_address(name) == ipaddress.ip_address(server[0])
        except ValueError:
            return False


def add_headers(headers: MutableHeaders, allowed: str | None) -> None:
    """Add the headers of every answer; `allowed` is the origin of another site that may read it."""
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    headers["Cross-Origin-Resource-Policy"] = "same-origin" if allowed is None else "cross-origin"
    headers["Vary"] = "Origin"
    if allowed is not None:
        headers["Access-Control-Allow-Origin"] = allowed
        headers["Access-Control-Expose-Headers"] = EXPOSED


def host_name(host: str) -> str:
    """The name in a Host header, in lower case, without the port; empty if it is malformed.

    >>> host_name("LocalHost:8190"), host_name("[::1]:80"), host_name("a@b")
    ('localhost', '::1', '')
    """
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for what is no number
    except ValueError:
        return ""
    malformed = parts.username is not None or parts.path or parts.query or parts.fragment
    return "" if malformed else (parts.hostname or "")


def is_origin_of(origin: str, host: str) -> bool:
    """Whether an origin is that of the pages of this server under the name in the Host header.

    >>> is_origin_of("http://localhost:8190", "localhost:8190"), is_origin_of("null", "localhost:8190")
    (True, False)
    """
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and rest.lower() == host.lower()


def token_in(authorization: str) -> bytes:
    """The token in an Authorization header; empty if there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
