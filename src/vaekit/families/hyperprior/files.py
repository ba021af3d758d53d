"""Codecs of images with a hyperprior, trained by vaekit."""

from vaekit.distributions.stepped import SteppedUniform
from vaekit.families.family import Family, Shapes, conv_shape, highest
from vaekit.families.hyperprior import net as hyperprior
from vaekit.families.hyperprior.net import HyperpriorVAEConfig
from vaekit.families.layout import Layout, Rules, product
from vaekit.nets.hyperprior import Hyperprior
from vaekit.nets.transform_coding import BLOCK

PRIOR = "to_prior.unit"
"""A native key that only this family has."""


def detect_hyperprior(shapes: Shapes) -> HyperpriorVAEConfig | None:
    """The configuration of a codec, from its prior and one of its halves; a missing half mirrors the other."""
    encoder, decoder = conv_shape(shapes, "encoder.conv_in.weight"), conv_shape(shapes, "decoder.conv_out.weight")
    last = conv_shape(shapes, "to_prior.analysis.4.weight")
    count = highest(shapes, r"to_prior\.slices\.(\d+)\.")
    ends = [conv_shape(shapes, f"to_prior.slices.{i}.4.weight") for i in range(min(count, len(shapes)))]
    width = encoder[0] if encoder else decoder[0] if decoder else 0
    if last is None or not ends or None in ends or not width:
        return None
    found = [shape for shape in ends if shape]
    blocks = {half: highest(shapes, rf"{half}\.blocks\.(\d+)\.") for half in ("encoder", "decoder")}
    hidden = next(
        (shape[0] for half in blocks if (shape := conv_shape(shapes, f"{half}.blocks.0.conv2.weight"))),
        1,
    )
    filters = conv_shape(shapes, "decoder.filter_middle.weight")
    return HyperpriorVAEConfig(
        image_channels=width // BLOCK**2,
        slices=tuple(shape[0] // 2 for shape in found),
        hidden=hidden,
        encoder_blocks=blocks["encoder"] if encoder else blocks["decoder"],
        decoder_blocks=blocks["decoder"] if decoder else blocks["encoder"],
        filter_width=filters[0] if filters else hidden,
        prior_hidden=last[1],
        summary_channels=last[0],
        slice_width=found[0][1],
    )


def same(*names: str) -> Rules:
    """Rules for keys that files have unchanged."""
    return tuple((name, name) for name in names)


BLOCKS = {f"blocks.{{i}}.conv{number}": f"blocks.{{i}}.conv{number}" for number in (1, 2, 3)}
ENCODER = {name: name for name in ("conv_in", "conv_out")} | BLOCKS
DECODER = ENCODER | {name: name for name in ("filter_in", "filter_middle", "filter_out")}
NETS = {name: name for name in ("analysis.{i}", "synthesis.{i}", "slices.{i}.{j}")}
NAMES = (
    *product("encoder", "encoder", ENCODER),
    *product("decoder", "decoder", DECODER),
    *product("to_prior", "to_prior", NETS),
    *same("encoder.log_step", "to_prior.unit", "to_prior.mean", "to_prior.log_scale"),
)
LAYOUT = Layout("native", "hyperprior", NAMES)
FAMILY = Family(
    name="hyperprior",
    config=HyperpriorVAEConfig,
    layouts=(LAYOUT,),
    detect=detect_hyperprior,
    build=hyperprior.build,
    posterior_head=lambda _: SteppedUniform,
    likelihood_head=lambda _: hyperprior.likelihood,
    prior_head=lambda config: Hyperprior(config.prior),
    requires=(PRIOR,),
)
