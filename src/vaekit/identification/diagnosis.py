"""Explain why vaekit cannot run the VAE in a file, from its keys and shapes."""

import re
from collections.abc import Iterable
from pathlib import Path

from vaekit.errors import WrongTensors, counted, printable
from vaekit.families import Shapes

QUANTIZER = re.compile(r"quanti[sz]\w*|codebooks?|vq\w*|fsq|lfq|bsq|rvq")
"""Names of modules that replace latents by codes."""
SAME_NAMES = ("kl", "hunyuan-image")
"""The families of variational autoencoders whose tensors have the names of the vq family's, the codebook aside."""
FEWEST_KERNELS = 4
ENDS = (
    ("encoder.quant_conv.weight", "decoder.post_quant_conv.weight"),
    ("encoder.conv_out.weight", "decoder.conv_in.weight"),
)
"""Native keys of the encoder's last and the decoder's first layer; the first pair that is present counts."""


def channels_last(path: Path, tensors: Shapes) -> WrongTensors | None:
    """The error for a file whose kernels have their channels last, as MLX, flax and TensorFlow store them."""
    shapes = [shape for shape in tensors.values() if len(shape) == 4]
    last = sum(shape[1:3] == (3, 3) != shape[2:] for shape in shapes)
    first = sum(shape[2:] == (3, 3) != shape[1:3] for shape in shapes)
    flax = sum(shape[:2] == (3, 3) != shape[2:] for shape in shapes)
    if max(last, flax) < FEWEST_KERNELS or first:
        return None
    program, axes, order = (
        ("MLX", "(out, rows, columns, in)", "(0, 3, 1, 2)")
        if last > flax
        else ("flax and TensorFlow", "(rows, columns, in, out)", "(3, 2, 0, 1)")
    )
    return WrongTensors(
        f"{path} stores its convolutions with channels last, {axes}, as {program} does: "
        f"{counted(max(last, flax), 'kernel')}.",
        "Expected torch's order, (out, in, rows, columns).",
        f"Give the torch weights of the same model, or permute these kernels: `weight.permute{order}.contiguous()`.",
    )


def without_codebook(path: Path, family: str, shapes: Shapes) -> WrongTensors | None:
    """The error for an encoder without variances, whose codebook is not in the file.

    Args:
        path: of the file.
        family: the family that the names of its tensors fit best.
        shapes: native keys and shapes.
    """
    pairs = ((shapes[a], shapes[b]) for a, b in ENDS if a in shapes and b in shapes)
    ends = next(pairs, None) if family in SAME_NAMES else None
    if ends is None or len(ends[0]) < 2 or len(ends[1]) < 2 or ends[0][0] != ends[1][1]:
        return None
    channels = ends[0][0]
    return WrongTensors(
        f"{path} holds an encoder that outputs {counted(channels, 'channel')} for a decoder that takes {channels}: a "
        "vector-quantized autoencoder without its codebook, or a plain autoencoder.",
        f"Expected a codebook, quantize.embedding.weight of shape (codes, {channels}), or an encoder with means and "
        "variances.",
        "Get the file that holds the codebook, too; nothing is wrong with the download of this one. Quantizers without "
        "a codebook (FSQ, LFQ) are not implemented.",
    )


def other_quantizer(path: Path, unexpected: Iterable[str], prefix: str) -> WrongTensors | None:
    """The error for an autoencoder with a quantizer that vaekit does not know; None without one."""
    known = [key for key in unexpected if QUANTIZER.fullmatch(key.removeprefix(prefix).split(".")[0])]
    if not known:
        return None
    return WrongTensors(
        f"The VAE in {path} is vector-quantized in a way that vaekit does not implement: "
        f"{counted(len(known), 'tensor')}, such as {printable(known[0])}.",
        "Expected a plain codebook, quantize.embedding.weight.",
        "Run it in the program that it was trained with.",
    )
