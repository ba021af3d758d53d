"""Connect to a Ray cluster, or start Ray on this machine for the time of a run."""

import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from vaekit.errors import ClusterFailed, printable
from vaekit.optional import require
from vaekit.pipeline import available_cores

ADDRESS = "RAY_ADDRESS"
"""The environment variable with the address of the cluster, as Ray's own tools use it."""
LOCAL = "local"
OBJECT_STORE = 128 << 20
"""Bytes of shared memory for items and results on their way between processes; more of them wait on the disk."""
LONGEST_FOLDER = 30
"""Characters of the folder of Ray's sockets, whose paths may have 107 with what Ray appends."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
"""Settings of Ray: nothing is sent to its makers, and nothing is printed."""
HERE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "15"}
"""Settings of a Ray that is started here: it listens on the loopback interface, as it does elsewhere than on Linux; and
all of its processes end soon after this one was killed."""
GONE_AFTER = 20.0
"""Seconds without an answer from the head of a cluster, after which it counts as lost. Ray would end the process
without a message after 60."""
CONNECTING = 10.0
"""Seconds to wait for a connection to the head."""


@dataclass
class Head:
    """The process of a cluster that knows its workers."""

    host: str
    port: int
    is_lost: bool = False
    """Whether it has not answered for too long. Calls of Ray may block then, until Ray ends the process."""
    _answered: float = 0.0

    def __post_init__(self) -> None:
        self._answered = time.monotonic()

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            ClusterFailed: it does not for too long.
        """
        while not self.check():
            time.sleep(1)

    def check(self) -> bool:
        """Whether it answers.

        Raises:
            ClusterFailed: it does not, and has not done so for too long.
        """
        with suppress(OSError), socket.create_connection((self.host, self.port), timeout=5):
            self._answered = time.monotonic()
            return True
        if time.monotonic() - self._answered <= GONE_AFTER:
            return False
        self.is_lost = True
        raise ClusterFailed(
            f"The cluster at {self.host}:{self.port} does not answer any more.",
            "What is done is kept.",
            "Start the cluster, and run the same command again.",
        )


def require_ray() -> ModuleType:
    """Import Ray.

    Raises:
        MissingPackage: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return require("ray", "run workers", "ray")


@contextmanager
def connected(address: str | None, cpus: int | None = None) -> Iterator[tuple[ModuleType, Head]]:
    """Ray, connected to a cluster, and its head. A connection that this process has already is used and kept.

    Args:
        address: of the cluster; None for that of the environment, else Ray is started on this machine and ended
            afterwards.
        cpus: the least number of CPUs that Ray, where it is started here, assumes this machine to have; None for those
            that it has.

    Raises:
        MissingPackage: Ray is not installed.
        ClusterFailed: there is no cluster at the address, or Ray cannot be started.
    """
    address = address or os.environ.get(ADDRESS) or LOCAL
    if address == LOCAL:
        for name, value in HERE.items():
            os.environ.setdefault(name, value)
        if "RAY_AUTH_MODE" not in os.environ:  # other users of this machine must not start anything
            os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    ray = require_ray()
    if ray.is_initialized():
        yield ray, head_of(ray, LOCAL)
        return
    with session_folder() if address == LOCAL else nullcontext() as folder, same_signals():
        try:
            check_listening(address)
            start(ray, address, folder, cpus)
            head = head_of(ray, address)
        except (Exception, SystemExit) as error:  # of many kinds; Ray exits where a machine is too slow to start it
            with suppress(Exception):
                ray.shutdown()
            raise cannot_connect(address, error) from error
        with silent(ray):
            try:
                yield ray, head
            finally:
                ray.shutdown()


@contextmanager
def same_signals() -> Iterator[None]:
    """Restore what SIGTERM does, which Ray changes."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def silent(ray: ModuleType) -> Iterator[None]:
    """Print no messages of Ray's processes. Otherwise it prints on stdout that a worker died, whatever its settings."""
    module, name = ray._private.worker, "print_to_stdstream"
    before = getattr(module, name, None)
    setattr(module, name, lambda *_, **__: None)
    try:
        yield
    finally:
        if before is not None:
            setattr(module, name, before)


def check_listening(address: str) -> None:
    """Check that something listens at the address of a cluster, if it is one of a host and a port: Ray would try for
    minutes.

    Raises:
        OSError: nothing does.
    """
    place = host_and_port(address)
    if place is not None:
        socket.create_connection(place, timeout=CONNECTING).close()


def host_and_port(address: str) -> tuple[str, int] | None:
    """The host and the port of an address; None if it is another one, such as auto.

    >>> host_and_port("10.0.0.1:6379"), host_and_port("ray://[::1]:10001"), host_and_port("auto")
    (('10.0.0.1', 6379), ('::1', 10001), None)
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isascii() and port.isdigit() and int(port) < 2**16 else None


def start(ray: ModuleType, address: str, folder: Path | None, cpus: int | None) -> None:
    """Connect to a cluster, or start one on this machine, without output."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if folder is None:
        ray.init(address=address, **quiet)
        return
    ray.init(
        address=LOCAL,
        num_cpus=None if cpus is None else max(cpus, available_cores()),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE,
        _temp_dir=str(folder),
        **quiet,
    )


@contextmanager
def session_folder() -> Iterator[Path]:
    """A folder for the sockets and logs of Ray, which is removed afterwards."""
    parent = None if len(tempfile.gettempdir()) <= LONGEST_FOLDER else "/tmp"
    with tempfile.TemporaryDirectory(prefix="vaekit-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def head_of(ray: ModuleType, address: str) -> Head:
    """The head of the cluster that this process is connected to by an address."""
    place = host_and_port(address) or host_and_port(ray.get_runtime_context().gcs_address)
    if place is None:
        raise ConnectionError("its head has no address")
    return Head(*place)


def cannot_connect(address: str, error: BaseException) -> ClusterFailed:
    """The error for a connection that failed."""
    reason = printable(str(error), 300) or type(error).__name__
    if isinstance(error, SystemExit):
        reason = "it did not start in time"
    if address == LOCAL:
        return ClusterFailed(
            f"Ray cannot be started on this machine: {reason}.",
            "",
            "Use --runner local, try again when less runs here, or repair it: pip install ray",
        )
    return ClusterFailed(
        f"The Ray cluster at {printable(address)} cannot be used: {reason}.",
        "Expected the address that `ray start --head` printed, such as 10.0.0.1:6379, and the same versions of Ray and "
        "Python here and there.",
        "Check the address, and whether `ray status` answers on that machine.",
    )
