"""LPIPS: the distance between deep features (Zhang et al. 2018, arXiv 1801.03924), version 0.1, AlexNet.

    d(x, y) = sum_l mean_hw  w_l . (f_l(x) / |f_l(x)| - f_l(y) / |f_l(y)|)^2

where f_l are the five activations of AlexNet after its ReLUs and w_l >= 0 the learned weights of each channel.
Lower is better; 0 for equal pictures. The network's weights are given by the caller: this room reads no files.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.shapes import Images, PerItem

WIDTHS = (64, 192, 384, 256, 256)


class LPIPS(nn.Module):
    """The network behind the distance: AlexNet's convolutions (`features.*`) and five linear weights (`lin*`).

    Keys are torchvision's and the reference implementation's: `features.{0,3,6,8,10}` and `lin{0..4}.model.1.weight`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(1, width, 1, 1)) for width in WIDTHS)
        # The normalisation of the reference implementation's scaling layer, for pictures in [-1, 1].
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LPIPS":
        """Build from named tensors under the reference implementation's keys; frozen, in evaluation mode.

        Raises:
            KeyError: a tensor is missing.
        """
        model = cls()
        layers = [key for key in model.state_dict() if key.startswith("features.")]
        native = {key: tensors[key].float() for key in layers}
        native |= {f"weights.{i}": tensors[f"lin{i}.model.1.weight"].float() for i in range(len(WIDTHS))}
        model.load_state_dict(native)
        return model.eval().requires_grad_(False)

    def forward(self, x: Images, y: Images) -> PerItem:
        """The distance of each pair of pictures (b, 3, h, w) in [-1, 1], h and w >= 31."""
        both = (torch.cat([x, y]) - self.mean) / self.std
        distance = torch.zeros(x.shape[0], device=x.device)
        tap = 0
        for layer in self.features:
            both = layer(both)
            if isinstance(layer, nn.ReLU):
                a, b = unit_channels(both.float()).chunk(2)
                distance = distance + F.conv2d((a - b).square(), self.weights[tap]).mean(dim=(1, 2, 3))
                tap += 1
        return distance


def unit_channels(features: Tensor) -> Tensor:
    """Scale each position's feature vector to length one.

    The small number stands inside the square root: outside it, as in the original, the gradient at zero is NaN.
    """
    return features * torch.rsqrt(features.square().sum(dim=1, keepdim=True) + 1e-20)
