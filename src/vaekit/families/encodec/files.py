"""EnCodec at 24, 32 and 48 kHz: names in transformers and in the authors' code, and the detector."""

import dataclasses
import math
import operator

from vaekit.distributions import Always, Laplace, UniformCodes
from vaekit.errors import NotRunnable, UnknownVAE, printable
from vaekit.families.encodec import net as encodec
from vaekit.families.encodec.net import EncodecConfig, audio_format
from vaekit.families.family import Family, Fields, Shapes, first_shape, highest
from vaekit.families.layout import HALVES, Layout, Rules
from vaekit.families.waveform import ASSUMED_RATE
from vaekit.families.waveform_files import NORMED, PARAMETRIZED, conv, kernel, stated_rate, width

STAGES = "to_posterior.stages."
"""The start of the native keys of the quantizer."""
PUBLISHED_RATES: dict[tuple[int, ...], int] = {(2, 4, 5, 8): 24_000, (4, 4, 5, 8): 32_000}
"""Sample rates by strides: EnCodec's own, and MusicGen's."""
CHUNKED_RATE = 48_000
"""That of the published network of chunks, which has the strides of the first one."""
CHUNK_POSITIONS, OVERLAP = 150, 0.01
"""The latent positions of a chunk of the published network, and the share of it that it has in common with the next."""
LONGEST_CHUNK = 2**24
"""In samples: minutes at any sample rate."""
NOT_CAUSAL = ((4, 4, 5, 8),)
"""The strides of published networks that are not causal."""
TRANSPOSED = (3, 6, 9, 12)
"""The numbers of the transposed convolutions of the published decoder, which have other names in the authors' code."""
MOST_STAGES = 64
STATISTICS = ("inited", "cluster_size", "embed_avg")
"""Tensors of the training of a codebook, which nothing else uses."""
MODEL_SETTINGS = {
    "pad_mode": "reflect",
    "trim_right_ratio": 1.0,
    "dilation_growth_rate": encodec.GROWTH,
}
"""Settings of transformers' class of which only these values run; weights do not determine most of them."""
OF_WHOLES = {"norm_type": "weight_norm", "normalize": False, "chunk_length_s": None}
"""The same of networks of whole waveforms."""
OF_CHUNKS = {"norm_type": "time_group_norm", "normalize": True}
"""The same of networks of chunks."""


def normed_conv(native: str, layer: str, wrapped: str, normed: dict[str, str]) -> Rules:
    """The rules of a convolution in a layer, and of a group norm after it, which has the same name but for the last
    part."""
    return (
        *conv(f"{native}.conv", f"{layer}.{wrapped}", normed),
        (f"{native}.norm.{{p}}", f"{layer}.{wrapped.removesuffix('conv')}norm.{{p}}"),
    )


def half_rules(half: str, layer: str, wrapped: str, normed: dict[str, str]) -> Rules:
    """The rules of one half, given the templates of a layer and of a convolution in it."""
    native = f"{half}.layers.{{i}}"
    return (
        *normed_conv(native, layer, wrapped, normed),
        *normed_conv(f"{native}.block.{{j}}", f"{layer}.block.{{j}}", wrapped, normed),
        *normed_conv(f"{native}.shortcut", f"{layer}.shortcut", wrapped, normed),
        *(
            (f"{native}.lstm.{kind}_{side}_l{{k}}", f"{layer}.lstm.{kind}_{side}_l{{k}}")
            for kind in ("weight", "bias")
            for side in ("ih", "hh")
        ),
    )


def transformers(normed: dict[str, str]) -> Rules:
    """The names in transformers."""
    return (
        *(rule for half in HALVES for rule in half_rules(half, f"{half}.layers.{{i}}", "conv", normed)),
        (f"{STAGES}{{i}}.codebook", "quantizer.layers.{i}.codebook.embed"),
    )


def authors() -> Rules:
    """The names in the authors' code, of networks with four levels of one residual block."""
    transposed = (
        rule
        for i in TRANSPOSED
        for rule in (
            *conv(f"decoder.layers.{i}.conv", f"decoder.model.{i}.convtr.convtr", NORMED),
            (f"decoder.layers.{i}.norm.{{p}}", f"decoder.model.{i}.convtr.norm.{{p}}"),
        )
    )
    return (
        *transposed,
        *(rule for half in HALVES for rule in half_rules(half, f"{half}.model.{{i}}", "conv.conv", NORMED)),
        (f"{STAGES}{{i}}.codebook", "quantizer.vq.layers.{i}._codebook.embed"),
    )


def statistics(codebook: str) -> tuple[str, ...]:
    """The foreign keys of the statistics of all codebooks, given the template of one."""
    return tuple(codebook.format(i=i) + name for i in range(MOST_STAGES) for name in STATISTICS)


def detect_encodec(shapes: Shapes) -> EncodecConfig | None:
    """The configuration of an EnCodec, or of one half with the quantizer."""
    read = encoder_levels(shapes) if any(key.startswith("encoder.") for key in shapes) else decoder_levels(shapes)
    codebook = first_shape(shapes, *(f"{STAGES}{i}.codebook" for i in range(MOST_STAGES)))
    half = "encoder" if any(key.startswith("encoder.") for key in shapes) else "decoder"
    last = highest(shapes, rf"{half}\.layers\.(\d+)\.") - 1
    first_conv, last_conv = kernel(shapes, f"{half}.layers.0.conv"), kernel(shapes, f"{half}.layers.{last}.conv")
    if read is None or codebook is None or len(codebook) != 2 or first_conv is None or last_conv is None:
        return None
    strides, blocks = read
    place = 1 if half == "encoder" else 4
    inside = first_shape(shapes, *(f"{half}.layers.{place}.block.1.conv.{each}" for each in ("weight_v", "weight")))
    outer = width(shapes, f"{half}.layers.{place}.block.3.conv")
    if blocks and (inside is None or len(inside) != 3 or not outer or not inside[0]):
        return None
    depth = highest(shapes, rf"{half}\.layers\.\d+\.lstm\.weight_ih_l(\d+)")
    encoded, chunked = half == "encoder", any(".norm." in key for key in shapes)
    chunk = CHUNK_POSITIONS * math.prod(strides) if chunked else 0
    if not all((*first_conv, *last_conv, *strides)):
        return None
    return EncodecConfig(
        audio_channels=first_conv[1] if encoded else last_conv[0],
        latent_channels=last_conv[0] if encoded else first_conv[1],
        width=first_conv[0] if encoded else last_conv[1],
        strides=strides,
        residual_blocks=blocks,
        compress=max(1, outer // inside[0]) if blocks and inside else 1,
        shortcuts=any(".shortcut." in key for key in shapes),
        kernel=first_conv[2],
        last_kernel=last_conv[2],
        residual_kernel=inside[2] if inside else 1,
        lstm_layers=max(1, depth),
        codes=codebook[0],
        stages=highest(shapes, r"to_posterior\.stages\.(\d+)\."),
        weight_norm=any(key.endswith((".weight_g", ".weight_v")) for key in shapes),
        causal=not chunked and strides not in NOT_CAUSAL,
        sample_rate=CHUNKED_RATE if chunked and strides in PUBLISHED_RATES else PUBLISHED_RATES.get(strides, 0),
        chunk=chunk,
        overlap=int(OVERLAP * chunk),
    )


Levels = tuple[tuple[int, ...], int]
"""The strides of the encoder, and the residual blocks of each level."""


def encoder_levels(shapes: Shapes) -> Levels | None:
    """The levels of an encoder: strided convolutions follow residual blocks and an activation."""
    return levels_between(shapes, "encoder", 1, -3)


def decoder_levels(shapes: Shapes) -> Levels | None:
    """The levels of a decoder: transposed convolutions precede residual blocks."""
    read = levels_between(shapes, "decoder", 2, -2)
    return None if read is None else (read[0][::-1], read[1])


def levels_between(shapes: Shapes, half: str, start: int, end: int) -> Levels | None:
    """The strides of the convolutions between the first layers of a half and its last ones, and the number of residual
    blocks in each level; None if they are not those of such a half.

    Args:
        shapes: native keys and shapes.
        half: "encoder" or "decoder".
        start: the number of the first layer of a level.
        end: the number of the layer after the last level, counted from the end.
    """
    count = highest(shapes, rf"{half}\.layers\.(\d+)\.")
    numbers = range(start, count + end)
    sizes = {i: shape[2] for i in numbers if (shape := kernel(shapes, f"{half}.layers.{i}.conv"))}
    if not sizes or len(numbers) % len(sizes) or any(size % 2 for size in sizes.values()):
        return None
    return tuple(size // 2 for size in sizes.values()), len(numbers) // len(sizes) - 2


def with_stated_fields(config: EncodecConfig, metadata: Fields, settings: Fields) -> EncodecConfig:
    """Add the sample rate, whether the network is causal, and the size of chunks, if the file states them.

    Raises:
        NotRunnable: config.json states another kind of network.
        UnknownVAE: the sample rate or the size of chunks is impossible.
    """
    expected = MODEL_SETTINGS | (OF_CHUNKS if config.chunk else OF_WHOLES)
    others = {name: settings[name] for name, value in expected.items() if settings.get(name, value) != value}
    if config.chunk and settings.get("chunk_length_s", 0) is None:
        others["chunk_length_s"] = None
    if others:
        stated = ", ".join(f"{name} = {printable(repr(value), 40)}" for name, value in others.items())
        raise NotRunnable(
            f"This is an EncodecModel with {stated}, by its config.json.",
            "Expected a network with weight normalization that encodes whole waveforms, as at 24 and 32 kHz, or one "
            "with group norms that encodes chunks, each normalized by its loudness, as at 48 kHz.",
            "Run it with transformers' EncodecModel.",
        )
    flags = (metadata.get("causal"), settings.get("use_causal_conv"))
    causal = next((value for value in flags if isinstance(value, bool)), config.causal)
    rate = stated_rate(metadata, settings) or config.sample_rate
    known = dataclasses.replace(config, causal=causal, sample_rate=rate)
    return with_stated_chunks(known, metadata, settings) if config.chunk else known


def with_stated_chunks(config: EncodecConfig, metadata: Fields, settings: Fields) -> EncodecConfig:
    """Add the size of chunks and of their overlap, if the file states them: in samples, or in seconds and as a share.

    Raises:
        UnknownVAE: they are impossible.
    """
    length, share = settings.get("chunk_length_s"), settings.get("overlap")
    try:
        if "chunk" in metadata:
            sizes = operator.index(metadata["chunk"]), operator.index(metadata.get("overlap", 0))
        elif length is not None:
            if not isinstance(length, int | float) or not isinstance(share, int | float):
                raise ValueError(f"{length!r} s that overlap by {share!r}")
            samples = int(length * config.sample_rate)
            sizes = samples, samples - max(1, int((1 - share) * samples))
        else:
            return config
        if not 0 < sizes[0] <= LONGEST_CHUNK:
            raise ValueError(f"chunks have {sizes[0]} samples")
        return dataclasses.replace(config, chunk=sizes[0], overlap=sizes[1])
    except (ValueError, TypeError, OverflowError) as error:
        raise UnknownVAE(
            f"The file states chunks that make no sense: {printable(str(error), 100)}.",
            f"Expected chunks of a whole number of latent positions, {math.prod(config.strides)} samples each, of at "
            f"most {LONGEST_CHUNK:,} samples, which overlap by no more than half.",
            "Correct chunk_length_s and overlap in its config.json, or give the path of the weights file alone.",
        ) from error


def assumed(config: EncodecConfig) -> list[str]:
    """Warnings about a network unlike the published ones."""
    if config.strides in PUBLISHED_RATES:
        return []
    rate = [f"The sample rate is assumed to be {ASSUMED_RATE} Hz: weights do not determine it."]
    chunks = [f"Chunks are taken to have {config.chunk} samples unless the file states it: weights do not tell."]
    return [
        *([] if config.sample_rate else rate),
        f"It is taken to be {'' if config.causal else 'not '}causal unless the file states it: weights do not tell.",
        *(chunks if config.chunk else []),
    ]


UNUSED = statistics("quantizer.layers.{i}.codebook.")
LAYOUTS = (
    Layout("native", "encodec", tuple((own, own) for own, _ in transformers(NORMED))),
    Layout("transformers", "encodec", transformers(NORMED), unused=UNUSED),
    Layout("transformers-parametrized", "encodec", transformers(PARAMETRIZED), unused=UNUSED),
    Layout("original", "encodec", authors(), unused=statistics("quantizer.vq.layers.{i}._codebook.")),
)
FAMILY = Family(
    name="encodec",
    config=EncodecConfig,
    layouts=LAYOUTS,
    detect=detect_encodec,
    build=encodec.build,
    posterior_head=encodec.quantizer,
    likelihood_head=lambda _: Laplace,
    prior_head=lambda config: Always(UniformCodes(config.codes**config.stages)),
    complete=with_stated_fields,
    assumed=assumed,
    requires=(STAGES,),
    audio=audio_format,
)
