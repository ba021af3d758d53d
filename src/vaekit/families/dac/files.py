"""DAC: names in transformers and in Descript's code, and the detector."""

from vaekit.distributions import Always, Laplace, UniformCodes
from vaekit.families.dac import net as dac
from vaekit.families.dac.net import DACConfig
from vaekit.families.family import Family, Shapes, first_shape, highest
from vaekit.families.layout import Layout, Rules
from vaekit.families.waveform import audio_format
from vaekit.families.waveform_files import (
    NORMED,
    PARAMETRIZED,
    assumed_rate,
    conv,
    decoder_sequence,
    encoder_sequence,
    kernel,
    named,
    waveform_fields,
    width,
    with_sample_rate,
)

STAGES = "to_posterior.stages."
"""The start of the native keys of the quantizer."""
PUBLISHED_RATES = {((2, 4, 8, 8), 9): 44_100, ((2, 4, 5, 8), 32): 24_000, ((2, 4, 5, 8), 12): 16_000}
"""Sample rates by strides and the number of codebooks."""


def quantizer(foreign: str, codebook: str, normed: dict[str, str]) -> Rules:
    """The rules of the quantizer, given the names of a stage and of its codebook."""
    stage = f"{STAGES}{{i}}"
    return (
        *conv(f"{stage}.in_proj", f"{foreign}.in_proj", normed),
        *conv(f"{stage}.out_proj", f"{foreign}.out_proj", normed),
        (f"{stage}.codebook", f"{foreign}.{codebook}"),
    )


def authors(normed: dict[str, str]) -> Rules:
    """The names of Descript's code."""
    return (
        *encoder_sequence("encoder.block", "block", normed),
        *decoder_sequence("decoder.model", "block", normed),
        *quantizer("quantizer.quantizers.{i}", "codebook.weight", normed),
    )


def transformers(normed: dict[str, str]) -> Rules:
    """The names of DacModel."""
    return (*named(normed), *quantizer("quantizer.quantizers.{i}", "codebook.weight", normed))


def detect_dac(shapes: Shapes) -> DACConfig | None:
    """The configuration of a DAC, or of one half with the quantizer; the other half is assumed to mirror it."""
    fields = waveform_fields(shapes)
    stages = highest(shapes, r"to_posterior\.stages\.(\d+)\.")
    codebook = first_shape(shapes, *(f"{STAGES}{i}.codebook" for i in range(stages)))
    inputs = kernel(shapes, "decoder.conv1")
    latent = inputs[1] if inputs else width(shapes, "encoder.conv2")
    if fields is None or codebook is None or len(codebook) != 2 or not latent:
        return None
    return DACConfig(
        latent_channels=latent,
        sample_rate=PUBLISHED_RATES.get((fields["strides"], stages), 0),
        codes=codebook[0],
        stages=stages,
        code_channels=codebook[1],
        **fields,
    )


NATIVE: Rules = (*named(), *quantizer(f"{STAGES}{{i}}", "codebook", NORMED))
LAYOUTS = (
    Layout("original", "dac", authors(NORMED)),
    Layout("native", "dac", NATIVE),
    Layout("transformers", "dac", transformers(NORMED)),
    Layout("transformers-parametrized", "dac", transformers(PARAMETRIZED)),
    Layout("original-parametrized", "dac", authors(PARAMETRIZED)),
)
FAMILY = Family(
    name="dac",
    config=DACConfig,
    layouts=LAYOUTS,
    detect=detect_dac,
    build=dac.build,
    posterior_head=dac.quantizer,
    likelihood_head=lambda _: Laplace,
    prior_head=lambda config: Always(UniformCodes(config.codes**config.stages)),
    complete=with_sample_rate,
    assumed=assumed_rate,
    requires=(STAGES,),
    audio=audio_format,
)
