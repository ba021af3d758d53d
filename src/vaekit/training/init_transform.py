"""Initialize a codec as an orthonormal transform: the principal components of blocks of 16x16 pixels.

From random weights a codec takes many thousands of steps to become as good as a linear transform. Here residual blocks
are the identity at first (see `nets.transform_coding`), the encoder's two convolutions together are the
Karhunen-Loeve transform of the first images (with 8x8 blocks in between), and the decoder is its transpose. Scales of
the prior are the standard deviations of the components.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.nets.hyperprior import Hyperprior
from vaekit.nets.transform_coding import BLOCK, FACTOR, Decoder, Encoder

LEAST_UNIT = 1e-3
"""The smallest unit of a channel of the prior."""


@torch.no_grad()
def init_transform(encoder: Encoder, decoder: Decoder, prior: Hyperprior, images: Tensor) -> None:
    """Initialize the nets, in place.

    Args:
        encoder, decoder, prior: freshly built.
        images: (b, c, h, w) in [-1, 1], of at least as many blocks of 16x16 pixels as a block has values.

    Raises:
        ValueError: there are more channels of latents than values of a block.
    """
    config = encoder.config
    values, most = config.values, 4 * config.block_width
    if values > most:
        raise ValueError(f"there are {values} channels for the {most} values of a block of {FACTOR}x{FACTOR} pixels")
    color = images.mean(dim=(0, 2, 3))
    centered = images - color[:, None, None]
    small, _ = principal(centered, BLOCK)
    large, variances = principal(centered, FACTOR)

    basis = small.unflatten(1, (config.image_channels, BLOCK, BLOCK))
    encoder.conv_in.weight.copy_(basis)
    bias_to(encoder.conv_in, -basis.sum(dim=(2, 3)) @ color)
    # Quadrants of the large blocks, (values, c, 2, 8, 2, 8), in coordinates of the small ones.
    quadrants = large[:values].unflatten(1, (config.image_channels, 2, BLOCK, 2, BLOCK))
    joined = torch.einsum("vcibjd,wcbd->vwij", quadrants, basis)
    encoder.conv_out.weight.copy_(joined)
    bias_to(encoder.conv_out, torch.zeros(values))

    decoder.conv_in.weight.copy_(joined.permute(1, 2, 3, 0).flatten(0, 2)[..., None, None])
    bias_to(decoder.conv_in, torch.zeros(4 * config.block_width))
    squares = F.pixel_unshuffle(F.pixel_unshuffle(basis, 2), BLOCK // 2).flatten(1)
    decoder.conv_out.weight.copy_(squares.T[..., None, None])
    bias_to(decoder.conv_out, color.repeat_interleave(BLOCK**2))
    prior.set_units(variances[:values].sqrt().clamp(min=LEAST_UNIT))


def principal(images: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The principal components of blocks (n, c * side * side), orthonormal, and their variances (n,), strongest
    first."""
    blocks = F.unfold(images.contiguous(), side, stride=side).transpose(1, 2).flatten(0, 1).double()
    variances, directions = torch.linalg.eigh(blocks.T @ blocks / len(blocks))
    return directions.flip(1).T.to(images), variances.flip(0).clamp(min=0).to(images)


def bias_to(layer: torch.nn.Conv2d, values: Tensor) -> None:
    """Set the bias of a layer."""
    assert layer.bias is not None
    layer.bias.copy_(values)
