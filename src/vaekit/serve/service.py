"""The state of a running server: offered VAEs, devices, memory, metrics."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from starlette.requests import Request

from vaekit.runtime.memory import memory_bytes
from vaekit.serve.engines import Engines
from vaekit.serve.ledger import Ledger
from vaekit.serve.metrics import Metrics
from vaekit.serve.offer import Offer, OfferedVAE
from vaekit.serve.page_files import read_page
from vaekit.serve.refusals import ClientGone
from vaekit.serve.settings import ServeOptions
from vaekit.serve.work import Alone, Group
from vaekit.serve.worker import DeviceWorker
from vaekit.tasks.alterations import AlteredDirection
from vaekit.tasks.options import EngineOptions

log = logging.getLogger("vaekit.serve")
Result = TypeVar("Result")
READY = "ready"
CONVERTERS = 2
"""Threads that read and write images and tensors, while the devices run networks."""
SHARE_OF_REQUESTS = 4
"""The part of the memory limit that requests in progress may take is one in so many."""


class Service:
    """What endpoints work on.

    Args:
        options: what is served.

    Raises:
        BadPlan: a device, a dtype or the memory limit is not valid.
        NotFound, BadItem: see `Offer`.
    """

    def __init__(self, options: ServeOptions) -> None:
        options.check()
        self.options = options
        memory = None if options.memory is None else memory_bytes(options.memory)
        requests = options.limits.in_flight if memory is None else memory // SHARE_OF_REQUESTS
        running = None if memory is None else str(memory - requests)
        engines = [
            EngineOptions(options.dtype, device, running, batch=options.limits.batch)
            for device in options.devices or (None,)
        ]
        for each in engines:
            _ = each.plan().torch_device  # raises if it cannot be used
        self.offer = Offer(options.vaes, options.models)
        self.ledger, self.metrics = Ledger(requests), Metrics()
        self.page = read_page()
        self.directions: WeakKeyDictionary[OfferedVAE, list[AlteredDirection]] = WeakKeyDictionary()
        """Those that were computed for clients, by VAE."""
        self.draining = False
        self.in_progress = 0
        limits = options.limits
        self.workers = [DeviceWorker(Engines(each, limits.loaded), limits, self.metrics) for each in engines]
        # After the workers: this sets the default of new threads, too.
        self._converters = ThreadPoolExecutor(CONVERTERS, "vaekit-convert", lambda: torch.set_num_threads(1))
        self.metrics.watch(lambda: sum(each.waiting for each in self.workers), lambda: self.ledger.taken)
        self._loaded: Future[None] | None = None

    def start(self) -> None:
        """Load the default VAE, after which the server is ready."""
        self._loaded = self._least_busy().submit(Alone(lambda engines: engines.open(self.offer.default)), None)
        self._loaded.add_done_callback(log_failure)

    @property
    def state(self) -> str:
        """`READY` if requests are accepted and the default VAE is loaded; else why not: "stopping", "loading" or
        "failed"."""
        if self.draining:
            return "stopping"
        if self._loaded is None or not self._loaded.done():
            return "loading"
        return "failed" if self._loaded.cancelled() or self._loaded.exception() is not None else READY

    def close(self) -> None:
        """Stop the workers. What runs is finished."""
        for worker in self.workers:
            worker.close()
        self._converters.shutdown()

    @contextmanager
    def request_in_progress(self, request: Request) -> Iterator[None]:
        """Count a request, and release the memory that it reserves when it is answered."""
        self.in_progress += 1
        try:
            with ExitStack() as reserved:
                request.state.reserved, request.state.body_read = reserved, False
                yield
        finally:
            self.in_progress -= 1

    def reserve(self, request: Request, nbytes: int) -> None:
        """Count memory of a request until it is answered.

        Raises:
            Refusal: there is not as much.
        """
        request.state.reserved.enter_context(self.ledger.reserved(nbytes))

    def check_room(self) -> None:
        """Check that a device has room in its queue.

        Raises:
            Refusal: none has.
        """
        self._least_busy().check_room()

    async def convert(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in one of the threads for images and tensors."""
        return await asyncio.get_running_loop().run_in_executor(self._converters, function, *arguments)

    async def run(self, request: Request, group: Group, job: Any, items: int = 1) -> Any:
        """Do work on a device. If the client leaves, work that did not start is cancelled.

        Raises:
            Refusal: the queue is full.
            ClientGone: the client closed the connection.
            VaekitError: the work failed.
        """
        future = self._least_busy().submit(group, job, items)
        result = asyncio.wrap_future(future)
        leaving = asyncio.create_task(disconnected(request))
        try:
            await asyncio.wait({result, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            if not future.cancel():  # it runs: its memory is counted until it ends
                await asyncio.wait({result})
                result.exception()  # nobody else asks for it
            raise ClientGone
        finally:
            leaving.cancel()

    def count(self, vae: OfferedVAE, direction: str, items: int) -> None:
        """Count items that were encoded or decoded."""
        self.metrics.items.labels(vae.name, direction).inc(items)

    def _least_busy(self) -> DeviceWorker:
        return min(self.workers, key=lambda worker: worker.waiting)


async def disconnected(request: Request) -> None:
    """Return when the client closes the connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def log_failure(loaded: "Future[Any]") -> None:
    """Log that the default VAE cannot be loaded."""
    if not loaded.cancelled() and (error := loaded.exception()) is not None:
        log.error("The default VAE cannot be loaded: %s", error)
