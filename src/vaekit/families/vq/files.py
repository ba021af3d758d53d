"""Vector-quantized autoencoders: VQGAN's and LDM's vq-f4, vq-f8, vq-f16 and their variants."""

from typing import Any

from vaekit.distributions import Always, Laplace, UniformCodes
from vaekit.families.convolutional import (
    ATTENTION,
    MATRICES,
    OLD_ATTENTION,
    QUANT_CONVS,
    assumed_groups,
    convolutional,
    diffusers_kl,
    ldm,
    nets_settings,
    with_stated_fields,
)
from vaekit.families.family import Family, Shapes, first_shape
from vaekit.families.layout import Layout, Rules, same_names
from vaekit.families.normalization import one_factor
from vaekit.families.padding import PADDINGS
from vaekit.families.vq import net as vq
from vaekit.families.vq.net import VQConfig
from vaekit.normalization import LatentNormalization

CODEBOOK = "to_posterior.codebook"
"""The native key of a vector quantizer's weights."""
CODEBOOKS: Rules = ((CODEBOOK, "quantize.embedding.weight"),)


def detect_vq(shapes: Shapes) -> VQConfig | None:
    """The configuration of a vector-quantized autoencoder: the nets of the kl family, and a codebook."""
    codebook = first_shape(shapes, CODEBOOK)
    fields = convolutional(shapes, moments=1)
    return VQConfig(**fields, codes=codebook[0]) if fields and codebook and len(codebook) == 2 else None


def settings(config: VQConfig, normalization: LatentNormalization | None) -> dict[str, Any]:
    """The `config.json` of VQModel."""
    return _vq_model(config) | one_factor(normalization, "VQModel")


def _vq_model(config: VQConfig) -> dict[str, Any]:
    lacking = not (config.quant_conv and config.post_quant_conv)
    return nets_settings(config, "VQModel", {"no 1x1 convolutions around the latent": lacking}) | {
        "latent_channels": config.hidden_channels,
        "num_vq_embeddings": config.codes,
        "vq_embed_dim": config.latent_channels,
    }


VQ, OLD_VQ = ((*diffusers_kl(attention), *CODEBOOKS) for attention in (ATTENTION, OLD_ATTENTION))
LAYOUTS = (
    Layout("ldm", "vq", ldm(VQ, QUANT_CONVS + CODEBOOKS)),
    Layout("native", "vq", same_names(VQ)),
    Layout("diffusers", "vq", VQ, matrices=MATRICES),
    Layout("diffusers-old", "vq", OLD_VQ, matrices=MATRICES),
)
FAMILY = Family(
    name="vq",
    config=VQConfig,
    layouts=LAYOUTS,
    detect=detect_vq,
    build=vq.build,
    posterior_head=vq.quantizer,
    likelihood_head=lambda _: Laplace,
    prior_head=lambda config: Always(UniformCodes(config.codes)),
    complete=with_stated_fields,
    assumed=assumed_groups,
    diffusers=settings,
    paddings=PADDINGS,
    requires=(CODEBOOK,),
)
