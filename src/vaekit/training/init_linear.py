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

from vaekit.errors import counted
from vaekit.families.kl.net import Attention, Decoder, Encoder, ResidualBlock

ENCODER_CONSTANT = 6.0
DECODER_CONSTANT = 2.0
"""A in the groups of the two output norms."""
LOG_VARIANCE = -5.0
"""The initial log-variance of the posterior."""
MAX_CARRIED = 3 * 64
"""The maximum number of channels that a shortcut between widths passes on."""
MIN_VARIANCE = 1e-6
"""The minimum variance of a principal component: below the quantization noise of 8-bit images."""
OTHER_WEIGHTS = 0.1
"""The factor of the random weights outside the linear path in the two output convolutions."""


@torch.no_grad()
def init_linear(encoder: Encoder, decoder: Decoder, blocks: Tensor) -> None:
    """Initialize encoder and decoder, in place.

    Args:
        encoder, decoder: freshly built; see `check_widths` for the supported widths.
        blocks: random blocks of images, (n, 3, f, f) in [-1, 1], for the principal components.

    Raises:
        ValueError: the nets are too small for the linear path.
    """
    check_widths(encoder, decoder)
    for net in (encoder, decoder):
        net.apply(silence_branches)
    mean, components = principal_components(blocks, encoder.config.latent_channels)
    init_encoder(encoder, mean, components)
    init_decoder(decoder, blocks.mean(dim=(0, 2, 3)), mean_colors(components))


def check_widths(encoder: Encoder, decoder: Decoder) -> None:
    """Check that both nets have enough channels for the linear path.

    Raises:
        ValueError: they have not.
    """
    config, widths = encoder.config, encoder.config.encoder_widths
    group, (first, second) = widths[-1] // config.norm_groups, (*decoder.config.decoder_widths, 0)[:2]
    per_group = latents_per_group(encoder)
    groups_used = -(-config.latent_channels // per_group)
    outputs = (groups_used - 1) * group + 2 * min(per_group, config.latent_channels) + 2
    carried = [3 * 4**level for level in range(len(widths) - 1)]
    for right, problem in (
        (config.image_channels == 3, f"images have {counted(config.image_channels, 'channel')}, not 3"),
        (config.hidden_channels == config.latent_channels, "hidden_channels and latent_channels differ"),
        (min(len(widths), len(decoder.config.decoder_widths)) > 1, "there is only one level"),
        (
            config.latent_channels <= carried[-1] * 4 if carried else True,
            "there are more latents than values of a block",
        ),
        (
            all(4 * needed <= width for needed, width in zip(carried[:-1], widths, strict=False)),
            "encoder_widths are less than 12 * 4^level",
        ),
        (all(fits(needed, widths, level) for level, needed in enumerate(carried)), "encoder_widths are too small"),
        (group >= 4 and groups_used <= config.norm_groups, "the last of encoder_widths is too small for the latents"),
        (fits(outputs, widths, len(widths) - 1), "the last two of encoder_widths are too small for the latents"),
        (first != second, "the first two of decoder_widths are equal"),
        (min(decoder.config.decoder_widths) >= 3, "decoder_widths are less than 3"),
        (
            first // config.norm_groups >= 4 and config.norm_groups >= 3,
            "the output norm of the decoder has less than 3 groups or less than 4 channels per group",
        ),
    ):
        if not right:
            raise ValueError(problem)


def fits(channels: int, widths: tuple[int, ...], level: int) -> bool:
    """Whether the first blocks of a level pass on this number of channels."""
    before, width = widths[max(level - 1, 0)], widths[level]
    return channels <= min(before, width) and (before == width or channels <= MAX_CARRIED)


def latents_per_group(encoder: Encoder) -> int:
    """The number of latents in a group of the output norm: two channels each, beside two constants."""
    return max(1, (encoder.norm_out.num_channels // encoder.norm_out.num_groups - 2) // 2)


def mean_colors(components: Tensor) -> Tensor:
    """The change of the mean color of a block per unit of each latent: (n, 3)."""
    squared_length = components.square().sum(dim=(1, 2, 3), keepdim=True)
    return (components / squared_length).mean(dim=(2, 3))


def silence_branches(module: nn.Module) -> None:
    """Set the last convolution of a residual branch to zero, so that the block is the identity."""
    last = {ResidualBlock: "conv2", Attention: "proj_out"}.get(type(module))
    if last is not None:
        nn.init.zeros_(getattr(module, last).weight)
        nn.init.zeros_(getattr(module, last).bias)


def principal_components(blocks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean block (3, f, f), and the directions (count, 3, f, f) whose projections have unit variance.

    Args:
        blocks: (n, 3, f, f).
        count: the number of directions, strongest first.
    """
    flat = blocks.flatten(1).double()
    mean = flat.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov((flat - mean).T))
    scales = variances.clamp(min=MIN_VARIANCE).sqrt()
    strongest = directions[:, -count:].flip(1).T / scales[-count:].flip(0)[:, None]
    shape = blocks.shape[1:]
    return mean.reshape(shape).float(), strongest.reshape(count, *shape).float()


def init_encoder(encoder: Encoder, mean: Tensor, components: Tensor) -> None:
    """Space-to-depth at all levels but the last, which projects on the principal components."""
    count = len(components)
    set_rows(encoder.conv_in, {i: (i, 1, 1, 1.0) for i in range(3)})
    down: Any = encoder.down
    for level in down:
        pass_through(level.block[0], MAX_CARRIED)
    for depth, level in enumerate(down[:-2]):
        width = 3 * 4**depth
        rows = {4 * i + 2 * y + x: (i, y, x, 1.0) for i in range(width) for y in range(2) for x in range(2)}
        set_rows(level.downsample.conv, rows)
    last = down[-2].downsample.conv
    weights = as_depth(components, len(down) - 2)
    offsets = -(components * mean).flatten(1).sum(dim=1)
    inputs, width = weights.shape[1], encoder.norm_out.num_channels // encoder.norm_out.num_groups
    encoder.conv_out.weight *= OTHER_WEIGHTS
    for group, latents in enumerate(torch.arange(count).split(latents_per_group(encoder))):
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
    """Filters over f x f pixels, (n, 3, f, f), as filters over `depth` times space-to-depth pixels:
    (n, 3 * 4^depth, f / 2^depth, f / 2^depth)."""
    count, channels, height, width = blocks.shape
    for _ in range(depth):
        height, width = height // 2, width // 2
        blocks = blocks.reshape(count, channels, height, 2, width, 2).permute(0, 1, 3, 5, 2, 4)
        channels *= 4
        blocks = blocks.reshape(count, channels, height, width)
    return blocks


def init_decoder(decoder: Decoder, mean: Tensor, colors: Tensor) -> None:
    """From latents to the average color of their block, interpolated at every level."""
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


def pass_through(block: ResidualBlock, limit: int) -> None:
    """Make a shortcut between widths the identity for the first channels, `limit` at most."""
    if isinstance(block.nin_shortcut, nn.Conv2d):
        count = min(limit, block.nin_shortcut.in_channels, block.nin_shortcut.out_channels)
        set_rows(block.nin_shortcut, {i: (i, 0, 0, 1.0) for i in range(count)})


def set_rows(conv: nn.Conv2d, taps: dict[int, tuple[int, int, int, float]]) -> None:
    """Make output channels copies of single taps: {output: (input, row, column, weight)}."""
    for output, (source, row, column, weight) in taps.items():
        conv.weight[output] = 0
        conv.weight[output, source, row, column] = weight
        bias_of(conv)[output] = 0


def set_identity(conv: nn.Module) -> None:
    """Make a 1x1 convolution the identity."""
    if isinstance(conv, nn.Conv2d):
        set_rows(conv, {i: (i, 0, 0, 1.0) for i in range(conv.out_channels)})


def bias_of(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution on the linear path."""
    assert conv.bias is not None
    return conv.bias
