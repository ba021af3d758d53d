"""JointVAE, as published in Schlumberger/joint-vae: continuous and categorical variables in one latent vector."""

from functools import partial

from vaekit.distributions import Always, GaussianAndCategoricals, NormalAndUniform, SignedBernoulli
from vaekit.families.family import Family, Shapes, conv_shape, first_shape, highest
from vaekit.families.joint import net as joint
from vaekit.families.joint.net import JointConfig
from vaekit.families.layout import Layout, Rules, same_names
from vaekit.nets.flat import LOWEST

FEWEST = 3
"""The minimum number of convolutions of a half: with two, none would have the first width."""
MODULES = {
    "encoder": ("img_to_features.{i}", "features_to_hidden.{i}", "fc_mean", "fc_log_var", "fc_alphas.{i}"),
    "decoder": ("latent_to_features.{i}", "features_to_img.{i}"),
}


def detect_joint(shapes: Shapes) -> JointConfig | None:
    """The configuration of a JointVAE, or of its half.

    A decoder does not determine which elements of its latent are categorical: alone, it is assumed to have none.
    """
    return of_encoder(shapes) or of_decoder(shapes)


def of_encoder(shapes: Shapes) -> JointConfig | None:
    """The configuration of an encoder; None if it is absent, or has no Gaussian part."""
    first = conv_shape(shapes, "encoder.img_to_features.0.weight")
    mean = first_shape(shapes, "encoder.fc_mean.weight", "encoder.fc_log_var.weight")
    lists = [
        first_shape(shapes, f"encoder.fc_alphas.{i}.weight", f"encoder.fc_alphas.{i}.bias")
        for i in range(min(len(shapes), highest(shapes, r"encoder\.fc_alphas\.(\d+)\.")))
    ]
    size = image_size(shapes, "encoder.img_to_features")
    if first is None or mean is None or len(mean) != 2 or not all(lists) or not size:
        return None
    return JointConfig(
        image_channels=first[1],
        image_size=size,
        width=first[0],
        hidden=mean[1],
        continuous=mean[0],
        categories=tuple(shape[0] for shape in lists if shape),
    )


def of_decoder(shapes: Shapes) -> JointConfig | None:
    """The configuration of a decoder; None if it is absent."""
    first = first_shape(shapes, "decoder.latent_to_features.0.weight")
    size = image_size(shapes, "decoder.features_to_img")
    last = conv_shape(shapes, f"decoder.features_to_img.{last_index(shapes, 'decoder.features_to_img')}.weight")
    if first is None or last is None or len(first) != 2 or not size:
        return None
    return JointConfig(
        image_channels=last[1],
        image_size=size,
        width=last[0],
        hidden=first[0],
        continuous=first[1],
        categories=(),
    )


def last_index(shapes: Shapes, module: str) -> int:
    """The number of the last layer with weights in an `nn.Sequential`."""
    return highest(shapes, rf"{module}\.(\d+)\.") - 1


def image_size(shapes: Shapes, module: str) -> int:
    """The side of the images: each convolution doubles the lowest; 0 if there are too few or too many."""
    convolutions = last_index(shapes, module) // 2 + 1
    return LOWEST * 2**convolutions if FEWEST <= convolutions <= len(shapes) else 0


ORIGINAL: Rules = tuple(
    (f"{half}.{module}.{{p}}", f"{module}.{{p}}") for half, modules in MODULES.items() for module in modules
)
LAYOUTS = (Layout("original", "joint", ORIGINAL), Layout("native", "joint", same_names(ORIGINAL)))
FAMILY = Family(
    name="joint",
    config=JointConfig,
    layouts=LAYOUTS,
    detect=detect_joint,
    build=joint.build,
    posterior_head=lambda config: partial(GaussianAndCategoricals.from_moments, categories=config.categories),
    likelihood_head=lambda _: SignedBernoulli,
    prior_head=lambda config: Always(NormalAndUniform(config.categories)),
)
