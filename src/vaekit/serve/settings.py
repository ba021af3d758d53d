"""Settings of the server, and the rules for where it may listen. Importing this module does not import torch."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from vaekit.errors import BadPlan, printable

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = ("", "0.0.0.0", "::")
DEFAULT_PORTS = {"http": 80, "https": 443}
LEAST_TOKEN = 8
"""The minimum number of characters of a token."""


@dataclass(frozen=True)
class Limits:
    """What one client, and all together, may take."""

    pixels: int = 2**24
    """Of an image that is encoded or decoded: 4096x4096."""
    waiting: int = 64
    """Requests that wait for each device; further ones are refused with 503."""
    in_flight: int = 2**30
    """Bytes of bodies, tensors and results of all requests in progress, if there is no memory limit."""
    loaded: int = 3
    """VAEs that stay loaded on each device; the one that was used least recently is dropped."""
    batch: int = 16
    """Items at once, where the memory is sufficient."""
    patience: float = 0.005
    """Seconds for which a device that runs batches waits for more items."""
    headers_seconds: float = 10.0
    """For the head of a request, from the start of the connection."""
    idle_seconds: float = 10.0
    """Between two parts of a body, and for a client to take a part of a result."""
    least_rate: int = 2**15
    """Bytes of a body per second, on average."""
    connections: int = 512
    """Open at the same time; further ones are refused with 503."""
    drain_seconds: float = 60.0
    """For requests in progress, after a signal to stop."""


@dataclass(frozen=True)
class ServeOptions:
    """What is served, where, and to whom."""

    vaes: Sequence[str] = ()
    """Names or paths of VAEs; the first is the default."""
    models: Sequence[Path] | None = None
    """Models folders whose VAEs are all offered, after those of `vaes`."""
    memory: str | None = None
    """The memory limit: three quarters of it for running a VAE, one quarter for requests in progress. Loaded weights
    and the program itself come on top."""
    host: str = "127.0.0.1"
    port: int = 8190
    token: str | None = None
    """Every request must carry it, except those for health and for static files."""
    hosts: Sequence[str] = ()
    """Further names under which clients may address the server."""
    origins: Sequence[str] = ()
    """Origins, such as https://example.org, whose pages may use the API from a browser."""
    devices: Sequence[str] = ()
    """One worker for each; empty for CUDA if available, else the CPU."""
    dtype: str = "fp32"
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Check the settings.

        Raises:
            BadPlan: an address that other machines can reach without a token, a token that is short, or an origin that
                is not one.
        """
        if self.token is not None and (len(self.token) < LEAST_TOKEN or not self.token.isascii()):
            raise BadPlan(
                f"The token has {len(self.token)} characters.",
                f"Expected at least {LEAST_TOKEN} characters of ASCII.",
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'",
            )
        if not is_loopback(self.host) and self.token is None:
            raise BadPlan(
                f"Other machines could reach the server at {printable(self.host)}, and there is no token.",
                "Expected a loopback address such as 127.0.0.1, or a token.",
                "Give --token, or leave out --host.",
            )
        for origin in self.origins:
            check_origin(origin)

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Names in the Host header that are accepted, in lower case, without ports and brackets."""
        own = () if self.host in ANY_ADDRESS else (self.host,)
        return frozenset(name.lower().strip("[]") for name in (*LOOPBACK_NAMES, *own, *self.hosts))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.2"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("gpu.lan")
    (True, True, False, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_origin(origin: str) -> None:
    """Check that a text is exactly one origin: scheme, host and, unless it is the default, the port.

    Raises:
        BadPlan: it is something else, such as "*".
    """
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    exact = f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")
    if parts.scheme not in DEFAULT_PORTS or not host or "*" in host or exact != origin:
        raise BadPlan(
            f"{printable(origin)!r} is not an origin.",
            "Expected exactly one, such as https://example.org or http://localhost:3000.",
            "Repeat the option for several.",
        )
