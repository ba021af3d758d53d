"""LPIPS: the distance between deep features (Zhang et al. 2018, arXiv 1801.03924), version 0.1, AlexNet and VGG16.

    d(x, y) = sum_l mean_hw  w_l . ( f_l(x)/|f_l(x)| - f_l(y)/|f_l(y)| )^2

f_l are the activations after the l-th tapped ReLU, w_l the learned weights of each channel. No unit; lower is better; 0
for equal images. The caller passes the network's weights (`pretrained/lpips_weights.py` reads them from files).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.shapes import Images, PerItem


@dataclass(frozen=True)
class Conv:
    """A convolution with a ReLU."""

    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True)
class Pool:
    """A max-pool of stride 2."""

    kernel: int


@dataclass(frozen=True)
class Backbone:
    """The convolutions of a classifier, numbered as in torchvision, and the outputs that LPIPS compares."""

    name: str
    """The name in the reference implementation: `alex`, `vgg`."""
    layers: tuple[Conv | Pool, ...]
    taps: tuple[int, ...]
    """The numbers, in torchvision's `features`, of the ReLUs whose outputs are compared."""
    smallest: int
    """The least height and width of images."""

    def modules(self) -> nn.Sequential:
        """The layers under torchvision's numbers, up to the last tap."""
        modules: list[nn.Module] = []
        channels = 3
        for layer in self.layers:
            if isinstance(layer, Pool):
                modules.append(nn.MaxPool2d(layer.kernel, stride=2))
            else:
                modules += [nn.Conv2d(channels, layer.width, layer.kernel, layer.stride, layer.padding), nn.ReLU()]
                channels = layer.width
        return nn.Sequential(*modules)

    def widths(self) -> tuple[int, ...]:
        """Channels at each tap."""
        modules = self.modules()
        return tuple(modules[tap - 1].out_channels for tap in self.taps)  # type: ignore[misc]  # a convolution

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights of LPIPS, by the reference implementation's keys: `features.0.weight`,
        `lin0.model.1.weight`."""
        with torch.device("meta"):
            layers = self.modules().state_dict()
        convolutions = {f"features.{key}": tuple(tensor.shape) for key, tensor in layers.items()}
        return convolutions | {f"lin{i}.model.1.weight": (1, width, 1, 1) for i, width in enumerate(self.widths())}


ALEX = Backbone(
    "alex",
    (Conv(64, 11, 4, 2), Pool(3), Conv(192, 5, 1, 2), Pool(3), Conv(384), Conv(256), Conv(256)),
    (1, 4, 7, 9, 11),
    31,
)
VGG = Backbone(
    "vgg",
    (
        *(Conv(64), Conv(64), Pool(2), Conv(128), Conv(128), Pool(2), Conv(256), Conv(256), Conv(256), Pool(2)),
        *(Conv(512), Conv(512), Conv(512), Pool(2), Conv(512), Conv(512), Conv(512)),
    ),
    (3, 8, 15, 22, 29),
    16,
)
BACKBONES = (ALEX, VGG)


class LPIPS(nn.Module):
    """The network behind the distance: a backbone's convolutions (`features.*`) and five linear weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone = ALEX) -> None:
        super().__init__()
        self.backbone = backbone
        self.features = backbone.modules()
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(1, width, 1, 1)) for width in backbone.widths())
        # The normalization of the reference implementation's scaling layer, for images in [-1, 1].
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LPIPS":
        """Build from named tensors under the keys of `Backbone.shapes`; frozen, in evaluation mode.

        The backbone is recognized by the first convolution.

        Raises:
            KeyError: a tensor is missing.
        """
        backbone = ALEX if tensors["features.0.weight"].shape[-1] == 11 else VGG
        model = cls(backbone)
        layers = [key for key in model.state_dict() if key.startswith("features.")]
        native = {key: tensors[key].float() for key in layers}
        native |= {f"weights.{i}": tensors[f"lin{i}.model.1.weight"].float() for i in range(len(backbone.taps))}
        model.load_state_dict(native)
        return model.eval().requires_grad_(False)

    def activations(self, x: Images) -> Iterator[Tensor]:
        """The outputs of the tapped layers, one after the other, for images (b, 3, h, w) in [-1, 1]."""
        maps = (x - self.mean) / self.std
        for place, layer in enumerate(self.features):
            maps = layer(maps)
            if place in self.backbone.taps:
                yield maps

    def unit_features(self, x: Images) -> tuple[Tensor, ...]:
        """Unit features at each tap of images (b, 3, h, w) in [-1, 1].

        For several reconstructions of one image, compute its features only once. For an image of 768x512 they take 192
        MB (VGG) or 16 MB (AlexNet).
        """
        return tuple(unit_channels(maps.float()) for maps in self.activations(x))

    def between(self, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> PerItem:
        """The distance of each pair of images, given their `unit_features`."""
        distances = [
            F.conv2d((one - other).square(), weights).mean(dim=(1, 2, 3))
            for one, other, weights in zip(a, b, self.weights, strict=True)
        ]
        return torch.stack(distances).sum(dim=0)

    def forward(self, x: Images, y: Images) -> PerItem:
        """The distance of each pair of images (b, 3, h, w) in [-1, 1], with sides of `backbone.smallest` or more."""
        return self.between(self.unit_features(x), self.unit_features(y))


def unit_channels(features: Tensor) -> Tensor:
    """Scale each position's feature vector to length one.

    The epsilon is inside the square root: outside it, as in the original, the gradient at zero is NaN.
    """
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + 1e-20)
