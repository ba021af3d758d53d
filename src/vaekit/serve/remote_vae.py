"""Encode and decode by the remote-VAE protocol of diffusers, SD.Next and ComfyUI nodes; see `remote_query`."""

import math

from starlette.requests import Request
from starlette.responses import Response
from torch import Tensor

from vaekit.domains.images.read import with_channels
from vaekit.geometry import Geometry
from vaekit.serve.image_bytes import MEDIA_TYPES, check_pixels, image_bytes, image_of, image_size
from vaekit.serve.offer import OfferedVAE
from vaekit.serve.refusals import BAD, UNUSABLE, Refusal, bad_query
from vaekit.serve.remote_query import (
    PT,
    Scaling,
    TensorForm,
    decode_query,
    scaling_of,
    tensor_form,
)
from vaekit.serve.remote_tensors import (
    BATCHED,
    TENSOR,
    identity,
    latents_response,
    pixels_of,
    raw_latents,
    tensor_response,
)
from vaekit.serve.request_body import body_length, check_length, read_body
from vaekit.serve.service import Service
from vaekit.serve.tensor_bytes import FLOATS
from vaekit.serve.work import Decoding, Encoding

BODIES = (TENSOR, "application/octet-stream", *MEDIA_TYPES)
SINGLE = 4
"""Bytes of an fp32 value."""
COPIES = 3
"""Of a result in fp32: itself, one that is scaled, and its bytes or its levels with the bytes of a file."""
READING = 24
"""Bytes per pixel for reading an image file."""
COMPRESSED_PIXEL = 8
"""Bytes per pixel of the largest image files: 16 bits for each of four channels."""


async def decode(service: Service, request: Request) -> Response:
    """Decode latents to an image or to a tensor."""
    vae = service.offer.find(vae_name(request))
    geometry, limits = vae.geometry, service.options.limits
    query = decode_query(request.query_params, geometry, vae.patch)
    as_image = query.output_type != PT and TENSOR not in request.headers.get("accept", "")
    items = 1 if len(query.latents.shape) < BATCHED and not query.packed else query.latents.shape[0]
    check_items(items, limits.batch, as_image)
    rows, columns = geometry.decoded_size(query.size)
    check_pixels(rows * items, columns, limits.pixels)
    check_exactly(body_length(request), query.latents)
    pixels = items * math.prod(geometry.decoded_size(geometry.size_of(query.positions)))
    service.check_room()
    service.reserve(request, query.latents.nbytes * COPIES + pixels * geometry.channels * SINGLE * COPIES)
    content = await read_body(request, query.latents.nbytes, limits)
    raw = await service.convert(raw_latents, content, query, vae)
    result = await service.run(request, Decoding(vae, query.size), raw, items)
    service.count(vae, "decode", items)
    if as_image:
        body, media_type = await service.convert(image_bytes, result, query.image_format)
        return Response(body, headers=identity(vae), media_type=media_type)
    return await service.convert(tensor_response, result, query, vae)


async def encode(service: Service, request: Request) -> Response:
    """Encode an image or a tensor to latents."""
    vae = service.offer.find(vae_name(request))
    scaling, length = scaling_of(request.query_params), body_length(request)
    form = tensor_form(request.query_params) if "shape" in request.query_params else None
    if form is None:
        pixels = await image_pixels(service, request, vae.geometry, length)
    else:
        pixels = await tensor_pixels(service, request, vae.geometry, form, length)
    size = (pixels.shape[2], pixels.shape[3])
    check_patches(vae, scaling, vae.geometry.latent_size(size))
    latents = await service.run(request, Encoding(vae, size), pixels, len(pixels))
    service.count(vae, "encode", len(pixels))
    dtype = form.dtype if form is not None and form.dtype in FLOATS else "float32"
    return await service.convert(latents_response, latents, scaling, vae, dtype)


async def image_pixels(service: Service, request: Request, geometry: Geometry, length: int) -> Tensor:
    """The pixels (1, c, h, w) in [-1, 1] of an image file in the body."""
    limits = service.options.limits
    check_length(length, limits.pixels * COMPRESSED_PIXEL)
    service.check_room()
    service.reserve(request, length)
    content = await read_body(request, length, limits)
    height, width = image_size(content)
    check_pixels(height, width, limits.pixels)
    service.reserve(request, height * width * READING)
    loaded = await service.convert(image_of, content)
    pixels, _ = with_channels(loaded, geometry.channels)
    check_fixed_size(pixels, geometry)
    return pixels


async def tensor_pixels(
    service: Service, request: Request, geometry: Geometry, form: TensorForm, length: int
) -> Tensor:
    """The pixels (b, c, h, w) in [-1, 1] of a tensor in the body."""
    limits = service.options.limits
    if len(form.shape) != BATCHED or form.shape[1] != geometry.channels:
        raise bad_query(
            f"Images of shape {list(form.shape)} do not fit this VAE. Expected (b, {geometry.channels}, h, w)."
        )
    items, _, height, width = form.shape
    check_items(items, limits.batch, as_image=False)
    check_pixels(height * items, width, limits.pixels)
    check_exactly(length, form)
    service.check_room()
    service.reserve(request, form.nbytes + math.prod(form.shape) * SINGLE * COPIES)
    content = await read_body(request, form.nbytes, limits)
    pixels = await service.convert(pixels_of, content, form)
    check_fixed_size(pixels, geometry)
    return pixels


def vae_name(request: Request) -> str | None:
    """The name of the VAE in the path or in the query; None for the default."""
    name: str | None = request.path_params.get("vae") or request.query_params.get("vae")
    return name


def check_patches(vae: OfferedVAE, scaling: Scaling, positions: tuple[int, ...]) -> None:
    """Check that latents can be rearranged to those of a diffusion model, where that is asked for.

    Raises:
        Refusal: their rows or columns are no multiple of the patch.
    """
    if scaling.own and any(extent % vae.patch for extent in positions):
        raise Refusal(
            UNUSABLE,
            "wrong_size",
            f"The latents have {list(positions)} positions; with do_scaling, those of this VAE are multiples of "
            f"{vae.patch}.",
        )


def check_items(items: int, most: int, as_image: bool) -> None:
    """Check the number of items in one request.

    Raises:
        Refusal: there are too many, or several in an image file.
    """
    if items > most:
        raise bad_query(f"There are {items} items; expected at most {most} in one request.")
    if as_image and items > 1:
        raise bad_query(f"There are {items} items, and an image file holds one. Ask for output_type=pt.")


def check_exactly(length: int, form: TensorForm) -> None:
    """Check that a body has the length of a tensor before it is read.

    Raises:
        Refusal: it has another one.
    """
    if length != form.nbytes:
        raise Refusal(
            BAD,
            "wrong_length",
            f"The body has {length:,} bytes; shape {list(form.shape)} and dtype {form.dtype} are {form.nbytes:,}.",
        )


def check_fixed_size(pixels: Tensor, geometry: Geometry) -> None:
    """Check the size of images for a VAE that takes only one.

    Raises:
        Refusal: it is another one.
    """
    size = tuple(pixels.shape[2:])
    if geometry.size is not None and size != geometry.size:
        raise Refusal(
            UNUSABLE,
            "wrong_size",
            f"The image has {list(size)} rows and columns; this VAE takes {list(geometry.size)}.",
        )
