"""Load a VAE by name or path, strictly: every tensor of the network must be in the file."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.errors import system_errors
from vaekit.identification.build import Network
from vaekit.identification.identify import identify
from vaekit.identification.resolve import resolve
from vaekit.library.names import locate_vae
from vaekit.vae import VAE


@system_errors()
def load(
    name_or_path: str | Path,
    *,
    latent_space: str | None = None,
    padding: str | None = None,
    models: Sequence[Path] | None = None,
    weights: str | None = None,
) -> VAE:
    """Load a VAE in evaluation mode, in one dtype: that of its file.

    If the file mixes dtypes, it is the narrowest of bfloat16, float16, float32 and float64 that represents all weights
    exactly: float32 for norms in float32 beside convolutions in float16, and for float16 beside bfloat16. fp8 weights
    are loaded in the dtype of the others, and in bfloat16 if all are fp8: nothing is computed in 8 bits. Quantized
    weights, such as scaled fp8 or int8, are multiplied by their scales and loaded as float32; so is GGUF's Q8_0.

    If the file's headers do not determine the normalization or the padding (SD1 or SDXL?), its weights are hashed and
    looked up in the catalog. Weights without an entry are probed: their normalization, if they have the shapes of
    published models; their padding, if they are convolutional. That takes seconds and is cached; with `latent_space`
    and `padding` given, nothing is probed. An unknown normalization is None.

    Args:
        name_or_path: the name of a known VAE ("builtin") or of a file in a models folder; a weights file; a diffusers
            folder; or a folder with the encoder and the decoder of one VAE. A file with one half gives a VAE with only
            that half.
        latent_space: the name of its latent space, overriding the file's: "SD1", "SDXL", "FLUX.1", ...
        padding: "zeros" or "reflect", overriding the file's: the padding of its 3x3 convolutions.
        models: the folders in which names are looked up; None for those of `models_folders`.
        weights: "ema" or "plain" for the averaged or the plain weights of a checkpoint that holds both. The default of
            a torch checkpoint with several dictionaries is the largest, averages before plain weights, but one named
            as an autoencoder before all; that of one dictionary is the plain weights. `vae.origin.note` states it.

    Raises:
        NotFound, AmbiguousName: no file has this name, or several have; or the latent space is unknown, or the file
            does not hold the weights.
        BadPlan: the padding is unknown, or this family does not support it; or the kind of weights is unknown.
        BadCheckpoint, UnknownVAE, WrongTensors: see `vaekit.errors`. BadCheckpoint names a quantization that cannot be
            undone, such as bitsandbytes, GPTQ or NVFP4.
    """
    with locate_vae(name_or_path, models) as path:
        network = Network()
        return network.of(resolve(identify(path, weights), latent_space, padding, network=network))
