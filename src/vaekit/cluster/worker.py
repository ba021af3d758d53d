"""The process of a worker: it loads what all shards need once, and then processes shards."""

import pickle
from collections.abc import Callable
from typing import Any

from vaekit.cluster.dispatch import Answer
from vaekit.errors import ClusterFailed, VaekitError, of_system
from vaekit.version import __version__


class Worker:
    """Lives in a process of its own. Errors that the user can fix are answers: Ray would wrap them."""

    def __init__(self) -> None:
        self._process: Callable[[Any], Any] | None = None

    def start(self, work: bytes, version: str) -> Answer:
        """Load what all shards need.

        Args:
            work: the pickled `Work`. It is unpickled here, not by Ray: it imports torch, and Ray has set the number of
                threads by now.
            version: of vaekit where the run was started.
        """
        return answer(lambda: self._load(work, version))

    def _load(self, work: bytes, version: str) -> None:
        if version != __version__:
            raise ClusterFailed(
                f"A worker has vaekit {__version__}, and the run was started with {version}.",
                "Results of different versions cannot be mixed.",
                "Install the same version on all machines.",
            )
        try:
            loaded = pickle.loads(work)
        except (ImportError, AttributeError) as error:
            raise ClusterFailed(
                f"A worker cannot import what the run needs: {error}.",
                "Expected the same packages on all machines.",
                "Install them, or start Ray where they can be imported.",
            ) from error
        self._process = loaded.start()

    def process(self, spec: bytes) -> Answer:
        """Process a pickled shard; the result is pickled, too."""
        from ray import cloudpickle

        assert self._process is not None
        process = self._process
        return answer(lambda: cloudpickle.dumps(process(pickle.loads(spec))))


def answer(call: Callable[[], Any]) -> Answer:
    """The answer of a call, with errors of vaekit and of the system."""
    try:
        return Answer(call())
    except VaekitError as error:
        return Answer(error=error)
    except (OSError, MemoryError) as error:
        return Answer(error=of_system(error))
