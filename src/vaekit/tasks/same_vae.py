"""VAEs in several processes: each loads the file itself, and checks that it holds the same weights."""

from dataclasses import dataclass
from typing import Any

from vaekit.errors import ClusterFailed, printable
from vaekit.identification.fingerprint import fingerprint
from vaekit.tasks.options import ModelOptions
from vaekit.vae import VAE


@dataclass(frozen=True, eq=False)
class SameVAE:
    """A VAE that is pickled as the name of its file. Where that is not known, it is pickled itself."""

    vae: VAE
    source: ModelOptions | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.source is None:
            return SameVAE, (self.vae,)
        return load_same, (self.source.absolute(), fingerprint(self.vae))


def load_same(source: ModelOptions, expected: str) -> SameVAE:
    """Load a VAE in another process.

    Raises:
        ClusterFailed: it has another fingerprint than expected.
        NotFound, BadCheckpoint, ...: it cannot be loaded.
    """
    vae = source.load()
    check_same(vae, source, expected)
    return SameVAE(vae, source)


def check_same(vae: VAE, source: ModelOptions, expected: str) -> None:
    """Check the fingerprint of a VAE that was loaded in another process.

    Raises:
        ClusterFailed: it is another one than expected.
    """
    if fingerprint(vae) != expected:
        raise ClusterFailed(
            f"{printable(source.vae, 300)} has other weights on the machine of a worker than here.",
            "Results of different VAEs cannot be mixed.",
            "Give the path of a file that all machines see, and do not change it during a run.",
        )
