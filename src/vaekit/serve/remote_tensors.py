"""Tensors of the remote-VAE protocol: from bodies to what the networks take, and from results to answers."""

import json

import torch
from starlette.responses import Response
from torch import Tensor

from vaekit.errors import UnknownNormalization, counted
from vaekit.normalization import LatentNormalization
from vaekit.serve.offer import OfferedVAE
from vaekit.serve.refusals import UNUSABLE, Refusal
from vaekit.serve.remote_query import PACK, PT, DecodeQuery, Scaling, TensorForm
from vaekit.serve.tensor_bytes import DTYPES, bytes_of, name_of, tensor_of
from vaekit.vae import denormalize, normalize
from vaekit.version import __version__

TENSOR = "tensor/binary"
BATCHED = 4
"""Axes of a batch of images or latents."""


def pixels_of(content: bytearray, form: TensorForm) -> Tensor:
    """The images in a tensor: floats in [-1, 1], or levels of 8 bits.

    Raises:
        Refusal: values are not finite.
    """
    values = finite(tensor_of(content, form.dtype, form.shape))
    return values.float() if values.is_floating_point() else values.float() / 127.5 - 1


def raw_latents(content: bytearray, query: DecodeQuery, vae: OfferedVAE) -> Tensor:
    """The decoder's input (b, z, h, w) in fp32.

    Raises:
        Refusal: values are not finite.
        UnknownNormalization: the server is to apply its own scale, and knows none.
    """
    latents = finite(tensor_of(content, query.latents.dtype, query.latents.shape)).float()
    if query.packed:
        latents = unpacked(latents, query.positions)
    elif len(query.latents.shape) < BATCHED:
        latents = latents[None]
    if query.scaling.own:
        return denormalize(latents, known_normalization(vae))
    return latents / query.scaling.factor + query.scaling.shift


def unpacked(tokens: Tensor, positions: tuple[int, int]) -> Tensor:
    """Tokens (b, h/2 * w/2, 4 z) of FLUX's transformer -> latents (b, z, h, w): each token is a square of 2x2
    positions, channels first."""
    rows, columns = (extent // PACK for extent in positions)
    squares = tokens.unflatten(1, (rows, columns)).unflatten(3, (-1, PACK, PACK))  # b, rows, columns, z, 2, 2
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, *positions)


def tensor_response(pixels: Tensor, query: DecodeQuery, vae: OfferedVAE) -> Response:
    """Decoded images as raw bytes: levels of 8 bits (b, h, w, c) if they are postprocessed; else (b, c, h, w) in the
    dtype of the latents, in [-1, 1] for "pt", and in [0, 1] for "pil" with a processor."""
    dtype = DTYPES[query.latents.dtype]
    if query.output_type != PT:
        values = (pixels / 2 + 0.5).clamp(0, 1).to(dtype)
    elif query.partial_postprocess:
        values = (pixels.clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    else:
        values = pixels.to(dtype)
    return bytes_response(values, vae)


def latents_response(raw: Tensor, scaling: Scaling, vae: OfferedVAE, dtype: str) -> Response:
    """Latents as raw bytes, scaled as the client wants them.

    Raises:
        UnknownNormalization: see `raw_latents`.
    """
    latents = normalize(raw, known_normalization(vae)) if scaling.own else (raw - scaling.shift) * scaling.factor
    return bytes_response(latents.to(DTYPES[dtype]), vae)


def bytes_response(values: Tensor, vae: OfferedVAE) -> Response:
    """A tensor, with its shape and dtype in headers."""
    headers = {"shape": json.dumps(list(values.shape)), "dtype": name_of(values.dtype), **identity(vae)}
    return Response(bytes_of(values), headers=headers, media_type=TENSOR)


def identity(vae: OfferedVAE) -> dict[str, str]:
    """What the protocol does not say, in headers that its clients ignore."""
    return {
        "x-vaekit-vae": vae.name,
        "x-vaekit-fingerprint": vae.fingerprint,
        "x-vaekit-latents": "mode",
        "x-vaekit-version": __version__,
    }


def finite(values: Tensor) -> Tensor:
    """The values.

    Raises:
        Refusal: some are NaN or infinite.
    """
    if values.is_floating_point() and not (ok := values.isfinite()).all():
        count = ok.numel() - int(ok.sum())
        raise Refusal(UNUSABLE, "not_finite", f"The tensor has {counted(count, 'NaN or infinite value')}.")
    return values


def known_normalization(vae: OfferedVAE) -> LatentNormalization:
    """Between raw latents and those of a diffusion model.

    Raises:
        UnknownNormalization: the server does not know it.
    """
    if vae.normalization is None:
        raise UnknownNormalization(
            f"The latent normalization of {vae.name} is unknown.",
            "Expected scaling_factor, and shift_factor where the model has one, in the query.",
            "",
        )
    return vae.normalization
