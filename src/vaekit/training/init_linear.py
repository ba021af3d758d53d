"""Initialize a KL autoencoder as a linear autoencoder, with correct color and brightness before the first step.

From random weights such a network first uses its latent channels for brightness alone, and takes thousands of steps to
learn color. Here residual branches are initialized to zero (Zhang et al. 2019, arXiv 1901.09321), and the path through
the shortcuts is linear: the encoder projects each block of pixels on its principal components, the decoder outputs the
average color of the block, interpolated. All other weights stay random.

The path has one normalization and one activation in each half. They act as an identity: a channel x is accompanied by
-x, since silu(x) - silu(-x) = x, and by two constants +A and -A that dominate the variance of the group, so that the
norm divides by almost the same value for every image.
"""

from typing import Any

import torch
from torch import Tensor, nn

from vaekit.families.kl.net import Attention, Decoder, Encoder, ResidualBlock

ENCODER_CONSTANT = 6.0
DECODER_CONSTANT = 2.0
"""A in the groups of the two output norms."""
LOG_VARIANCE = -5.0
"""The initial log-variance of the posterior."""
OTHER_WEIGHTS = 0.1
"""The factor of the random weights outside the linear path in the two output convolutions."""


@torch.no_grad()
def init_linear(encoder: Encoder, decoder: Decoder, blocks: Tensor) -> None:
    """Set the weights of both halves.

    Args:
        encoder, decoder: freshly built, with room for the path: two levels or more, at least 3 * 4^i channels at
            level i of the encoder (but for the last), another width at the decoder's first level than at its second,
            4 channels in a group of either output norm, and in the encoder's room for all latents: each group holds as
            many as half its channels less one.
        blocks: pixels of random blocks of f x f, (n, 3, f, f) in [-1, 1], to take the components from.
    """
    for net in (encoder, decoder):
        net.apply(silence_branches)
    mean, components = principal_components(blocks, encoder.config.latent_channels)
    init_encoder(encoder, mean, components)
    init_decoder(decoder, blocks.mean(dim=(0, 2, 3)), mean_colors(components))


def mean_colors(components: Tensor) -> Tensor:
    """What one unit of each latent adds to the mean color of its block: (count, 3)."""
    squared_length = components.square().sum(dim=(1, 2, 3), keepdim=True)
    return (components / squared_length).mean(dim=(2, 3))


def silence_branches(module: nn.Module) -> None:
    """The last convolution of a residual branch starts at zero, so that the block passes its input on."""
    last = {ResidualBlock: "conv2", Attention: "proj_out"}.get(type(module))
    if last is not None:
        nn.init.zeros_(getattr(module, last).weight)
        nn.init.zeros_(getattr(module, last).bias)


def principal_components(blocks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean block (3, f, f), and the directions (count, 3, f, f) whose projections have unit variance."""
    flat = blocks.flatten(1).double()
    mean = flat.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov((flat - mean).T))
    strongest = directions[:, -count:].flip(1).T / variances[-count:].flip(0).sqrt()[:, None]
    shape = blocks.shape[1:]
    return mean.reshape(shape).float(), strongest.reshape(count, *shape).float()


def init_encoder(encoder: Encoder, mean: Tensor, components: Tensor) -> None:
    """Space to depth at every level but the last, where the projection on the components is taken."""
    count = len(components)
    set_rows(encoder.conv_in, {i: (i, 1, 1, 1.0) for i in range(3)})
    down: Any = encoder.down
    for level in down:
        pass_through(level.block[0], 3 * 64)
    for depth, level in enumerate(down[:-2]):
        width = 3 * 4**depth
        rows = {4 * i + 2 * y + x: (i, y, x, 1.0) for i in range(width) for y in range(2) for x in range(2)}
        set_rows(level.downsample.conv, rows)
    last = down[-2].downsample.conv
    weights = as_depth(components, len(down) - 2)
    offsets = -(components * mean).flatten(1).sum(dim=1)
    inputs, width = weights.shape[1], encoder.norm_out.num_channels // encoder.norm_out.num_groups
    encoder.conv_out.weight *= OTHER_WEIGHTS
    for group, latents in enumerate(torch.arange(count).split(max(1, (width - 2) // 2))):
        first, held = group * width, len(latents)
        plus, minus, constants = (slice(first + held * i, first + held * (i + 1)) for i in range(3))
        last.weight[first : first + 2 * held + 2] = 0
        last.weight[plus, :inputs, :2, :2] = weights[latents]
        last.weight[minus, :inputs, :2, :2] = -weights[latents]
        bias_of(last)[plus], bias_of(last)[minus] = offsets[latents], -offsets[latents]
        bias_of(last)[constants.start], bias_of(last)[constants.start + 1] = ENCODER_CONSTANT, -ENCODER_CONSTANT
        spread = ((2 * ENCODER_CONSTANT**2 + 2 * held) / width) ** 0.5
        for latent, up, down_ in zip(
            latents, range(plus.start, plus.stop), range(minus.start, minus.stop), strict=True
        ):
            for sign, channel in ((1, up), (-1, down_)):
                encoder.conv_out.weight[latent, channel] = 0
                encoder.conv_out.weight[latent, channel, 1, 1] = sign * spread
    bias_of(encoder.conv_out)[:] = 0
    bias_of(encoder.conv_out)[count:] = LOG_VARIANCE
    set_identity(encoder.quant_conv)


def as_depth(blocks: Tensor, depth: int) -> Tensor:
    """Filters over f x f pixels as filters over the 2x2 positions and many channels that space-to-depth leaves."""
    count, channels, height, width = blocks.shape
    for _ in range(depth):
        height, width = height // 2, width // 2
        blocks = blocks.reshape(count, channels, height, 2, width, 2).permute(0, 1, 3, 5, 2, 4)
        channels *= 4
        blocks = blocks.reshape(count, channels, height, width)
    return blocks


def init_decoder(decoder: Decoder, mean: Tensor, colors: Tensor) -> None:
    """Latents to the average color of their block, interpolated at every level."""
    set_identity(decoder.post_quant_conv)
    decoder.conv_in.weight[:3] = 0
    decoder.conv_in.weight[:3, : len(colors), 1, 1] = colors.T
    bias_of(decoder.conv_in)[:3] = mean
    smooth = torch.tensor([0.25, 0.5, 0.25])
    up: Any = decoder.up
    for level in up[1:]:
        pass_through(level.block[0], 3)
        conv = level.upsample.conv
        conv.weight[:3] = 0
        for i in range(3):
            conv.weight[i, i] = smooth[:, None] * smooth
        bias_of(conv)[:3] = 0
    shortcut = up[0].block[0].nin_shortcut
    group = decoder.norm_out.num_channels // decoder.norm_out.num_groups
    spread = ((2 * DECODER_CONSTANT**2 + 0.5) / group) ** 0.5
    decoder.conv_out.weight *= OTHER_WEIGHTS
    bias_of(decoder.conv_out)[:] = 0
    for i in range(3):
        first = i * group
        shortcut.weight[first : first + 4] = 0
        shortcut.weight[first, i], shortcut.weight[first + 1, i] = 1, -1
        bias_of(shortcut)[first : first + 4] = torch.tensor([0, 0, DECODER_CONSTANT, -DECODER_CONSTANT])
        decoder.conv_out.weight[i, first : first + 4] = 0
        decoder.conv_out.weight[i, first, 1, 1], decoder.conv_out.weight[i, first + 1, 1, 1] = spread, -spread


def pass_through(block: ResidualBlock, most: int) -> None:
    """Let a shortcut that changes the width keep the first channels as they are."""
    if isinstance(block.nin_shortcut, nn.Conv2d):
        kept = min(most, block.nin_shortcut.in_channels, block.nin_shortcut.out_channels)
        set_rows(block.nin_shortcut, {i: (i, 0, 0, 1.0) for i in range(kept)})


def set_rows(conv: nn.Conv2d, taps: dict[int, tuple[int, int, int, float]]) -> None:
    """Make output channels copies of single taps: {output: (input, row, column, weight)}."""
    for output, (source, row, column, weight) in taps.items():
        conv.weight[output] = 0
        conv.weight[output, source, row, column] = weight
        bias_of(conv)[output] = 0


def set_identity(conv: nn.Module) -> None:
    if isinstance(conv, nn.Conv2d):
        set_rows(conv, {i: (i, 0, 0, 1.0) for i in range(conv.out_channels)})


def bias_of(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one, as all on the path do."""
    if conv.bias is None:
        raise TypeError("the linear start needs convolutions with a bias")
    return conv.bias
