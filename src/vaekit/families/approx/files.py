"""Latent previewers: the VAE-approx of AUTOMATIC1111's web UI."""

import re

from vaekit.distributions import Normal, Point
from vaekit.families.approx import net as approx
from vaekit.families.approx.net import ApproxConfig
from vaekit.families.family import Family, Shapes, conv_shape, no_prior
from vaekit.families.layout import Layout


def detect_approx(shapes: Shapes) -> ApproxConfig | None:
    """The configuration of a chain of square convolutions without padding, with matching channels."""
    numbers = {int(match[1]) for key in shapes if (match := re.match(r"decoder\.conv(\d+)\.", key))}
    if numbers != set(range(1, len(numbers) + 1)):
        return None
    convolutions = [conv_shape(shapes, f"decoder.conv{number}.weight") for number in sorted(numbers)]
    whole = [shape for shape in convolutions if shape and shape[2] == shape[3] and shape[2] % 2 == 1]
    if not whole or len(whole) < len(convolutions):
        return None
    return ApproxConfig(
        image_channels=whole[-1][0],
        latent_channels=whole[0][1],
        widths=tuple(shape[0] for shape in whole[:-1]),
        kernels=tuple(shape[2] for shape in whole),
    )


LAYOUTS = (
    # The names are not specific: with fewer convolutions, or behind a prefix, they would match many networks.
    Layout(
        "original",
        "approx",
        (("decoder.conv{i}.{p}", "conv{i}.{p}"),),
        has=("conv1.weight", "conv8.weight"),
        lacks=("conv0.weight",),
        any_prefix=False,
    ),
    Layout("native", "approx", (("decoder.conv{i}.{p}", "decoder.conv{i}.{p}"),)),
)
FAMILY = Family(
    name="approx",
    config=ApproxConfig,
    layouts=LAYOUTS,
    detect=detect_approx,
    build=approx.build,
    posterior_head=lambda _: Point,
    likelihood_head=lambda _: Normal,
    prior_head=no_prior,
)
