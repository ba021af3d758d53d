"""Run the application with uvicorn, until a signal."""

import logging
import signal
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from vaekit.errors import CannotRead
from vaekit.serve.app import make_app
from vaekit.serve.connection import with_limits
from vaekit.serve.service import Service
from vaekit.serve.settings import ServeOptions

log = logging.getLogger("vaekit.serve")
CLOSING_SECONDS = 5
"""For connections that are idle, or whose clients do not take their answers."""
KEEP_ALIVE_SECONDS = 30


class Server(uvicorn.Server):
    """uvicorn's server, which finishes requests in progress after the first signal, and stops after the second.

    Between the two it still accepts connections: /ready says that it is stopping, and new work is refused with 503.

    Args:
        config: of uvicorn.
        service: whose requests are finished.
        started: called with the port when connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[int], None]) -> None:
        super().__init__(config)
        self.service, self._started = service, started
        self._deadline: float | None = None
        self._announced = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.service.draining:
            self.should_exit = self.force_exit = True
            return
        log.info("%s: finishing %d requests", signal.Signals(sig).name, self.service.in_progress)
        self.service.draining = True
        self._deadline = time.monotonic() + self.service.options.limits.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        if not self._announced:
            self._announced = True
            self._started(self.servers[0].sockets[0].getsockname()[1])
        drained = self._deadline is not None and not self.service.in_progress
        if drained or (self._deadline is not None and time.monotonic() > self._deadline):
            self.should_exit = True
        return await super().on_tick(counter)


def make_server(service: Service, started: Callable[[int], None]) -> Server:
    """A server of a service, which `run` starts.

    Args:
        service: what is served.
        started: called with the port when connections are accepted.
    """
    options = service.options
    config = uvicorn.Config(
        lambda: make_app(service),
        factory=True,
        host=options.host,
        port=options.port,
        http=with_limits(options.limits),
        interface="asgi3",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    return Server(config, service, started)


def serve(options: ServeOptions, started: Callable[[int], None]) -> None:
    """Serve until a signal.

    Args:
        options: what, where, and to whom.
        started: called with the port when connections are accepted.

    Raises:
        BadPlan: an option is not valid.
        NotFound, AmbiguousName, BadItem: a VAE cannot be served.
        CannotRead: the address cannot be used.
    """
    server = make_server(Service(options), started)
    try:
        server.run()
    except SystemExit as failed:  # uvicorn could not listen, and has logged why
        raise CannotRead(
            f"The server cannot listen on {options.host}:{options.port}.",
            "Expected an address of this machine and a port that is free.",
            "Give another --port.",
        ) from failed
