"""The classical VAEs of YannDubs/disentangling-vae, for any training objective."""

from vaekit.distributions import DiagonalGaussian, SignedBernoulli
from vaekit.families.burgess import net as burgess
from vaekit.families.burgess.net import LARGE, BurgessConfig
from vaekit.families.family import Family, Shapes, conv_shape, first_shape
from vaekit.families.layout import Layout, product, same_names


def detect_burgess(shapes: Shapes) -> BurgessConfig | None:
    """The configuration of such a VAE; a missing half is assumed to mirror the other."""
    fields = of_encoder(shapes) or of_decoder(shapes)
    size = LARGE if any("_64." in key for key in shapes) else LARGE // 2
    return BurgessConfig(**fields, image_size=size) if fields else None


def of_encoder(shapes: Shapes) -> dict[str, int]:
    """The fields from the first and last layer of the encoder; empty if they are absent."""
    first, last = conv_shape(shapes, "encoder.conv1.weight"), first_shape(shapes, "encoder.mu_logvar_gen.weight")
    if first is None or last is None or len(last) != 2:
        return {}
    width, channels, *_ = first
    return {"image_channels": channels, "width": width, "hidden": last[1], "latent_channels": last[0] // 2}


def of_decoder(shapes: Shapes) -> dict[str, int]:
    """The fields from the first and last layer of the decoder; empty if they are absent."""
    first, last = first_shape(shapes, "decoder.lin1.weight"), conv_shape(shapes, "decoder.convT3.weight")
    if first is None or last is None or len(first) != 2:
        return {}
    width, channels, *_ = last
    return {"image_channels": channels, "width": width, "hidden": first[0], "latent_channels": first[1]}


CONVOLUTIONS = {name: name for name in ("conv1", "conv2", "conv3", "conv_64", "lin1", "lin2", "mu_logvar_gen")}
TRANSPOSED = {name: name for name in ("lin1", "lin2", "lin3", "convT_64", "convT1", "convT2", "convT3")}
NAMES = (*product("encoder", "encoder", CONVOLUTIONS), *product("decoder", "decoder", TRANSPOSED))
LAYOUTS = (Layout("original", "burgess", NAMES), Layout("native", "burgess", same_names(NAMES)))
FAMILY = Family(
    name="burgess",
    config=BurgessConfig,
    layouts=LAYOUTS,
    detect=detect_burgess,
    build=burgess.build,
    posterior_head=lambda _: DiagonalGaussian.from_moments,
    likelihood_head=lambda _: SignedBernoulli,
)
