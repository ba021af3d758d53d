"""vaekit: identify, run, measure and train variational autoencoders.

    import vaekit

    vae = vaekit.load("builtin")                    # or a file, or a diffusers folder
    engine = vaekit.Engine(vae, vaekit.Plan())
    images = engine.reconstruct(images)             # (b, 3, h, w) in [-1, 1]

The names below are the public API; everything else is imported from its module. They are imported on first use, so that
`import vaekit` and `vaekit --help` do not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaekit.version import __version__

if TYPE_CHECKING:
    from vaekit.checkpoints.bake import bake
    from vaekit.checkpoints.extract import extract
    from vaekit.checkpoints.load import load
    from vaekit.checkpoints.save import save
    from vaekit.errors import VaekitError
    from vaekit.estimators.detector import VAEDetector
    from vaekit.estimators.transformer import VAETransformer
    from vaekit.identification.inspect import Inspection
    from vaekit.interop.diffusers import as_diffusers
    from vaekit.interop.patch import patch, unpatch
    from vaekit.library.inspect import inspect
    from vaekit.normalization import LatentNormalization
    from vaekit.runtime.engine import Engine
    from vaekit.runtime.plan import Plan
    from vaekit.vae import VAE

__all__ = [
    "VAE",
    "Engine",
    "Inspection",
    "LatentNormalization",
    "Plan",
    "VAEDetector",
    "VAETransformer",
    "VaekitError",
    "__version__",
    "as_diffusers",
    "bake",
    "extract",
    "inspect",
    "load",
    "patch",
    "save",
    "unpatch",
]

_MODULES = {
    "VAE": "vaekit.vae",
    "Engine": "vaekit.runtime.engine",
    "Inspection": "vaekit.identification.inspect",
    "LatentNormalization": "vaekit.normalization",
    "Plan": "vaekit.runtime.plan",
    "VAEDetector": "vaekit.estimators.detector",
    "VAETransformer": "vaekit.estimators.transformer",
    "VaekitError": "vaekit.errors",
    "as_diffusers": "vaekit.interop.diffusers",
    "bake": "vaekit.checkpoints.bake",
    "extract": "vaekit.checkpoints.extract",
    "inspect": "vaekit.library.inspect",
    "load": "vaekit.checkpoints.load",
    "patch": "vaekit.interop.patch",
    "save": "vaekit.checkpoints.save",
    "unpatch": "vaekit.interop.patch",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'vaekit' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
