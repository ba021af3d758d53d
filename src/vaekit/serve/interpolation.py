"""Interpolate between images of a client, as `vaekit interpolate` does."""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vaekit.json import json_object, plain
from vaekit.serve.engines import Engines
from vaekit.serve.image_bytes import check_pixels, image_size
from vaekit.serve.image_requests import BYTES_PER_PIXEL, PNG, WEBP, accepts, data_url, written
from vaekit.serve.public_text import public
from vaekit.serve.refusals import BAD, Refusal, json_response
from vaekit.serve.remote_tensors import identity
from vaekit.serve.remote_vae import COMPRESSED_PIXEL, READING, vae_name
from vaekit.serve.request_body import body_length, check_length, read_body
from vaekit.serve.service import Service
from vaekit.serve.work import Alone
from vaekit.tasks.interpolate import InterpolationOptions
from vaekit.tasks.interpolate import interpolate as interpolate_files

FEWEST_IMAGES, MOST_IMAGES, MOST_STEPS = 2, 8, 30
BASE64 = 4 / 3
"""Characters per byte."""


@dataclass(frozen=True)
class InterpolationRequest:
    """The body of a request to interpolate."""

    images: tuple[bytearray, ...]
    steps: int
    path: str


async def interpolate(service: Service, request: Request) -> Response:
    """Interpolate between images: a strip, an animation and the ghost indices."""
    vae, limits = service.offer.find(vae_name(request)), service.options.limits
    length = body_length(request)
    check_length(length, int(limits.pixels * COMPRESSED_PIXEL * BASE64))
    service.check_room()
    service.reserve(request, length * 3)
    wanted = interpolation_request(await read_body(request, length, limits))
    sizes = [image_size(image) for image in wanted.images]
    for height, width in sizes:
        check_pixels(height, width, limits.pixels)
    points = (len(sizes) - 1) * (wanted.steps + 1) + 1
    height, width = sizes[0]
    check_pixels(height * points, width, limits.pixels)
    service.reserve(request, sum(height * width for height, width in sizes) * READING)
    service.reserve(request, height * width * points * BYTES_PER_PIXEL)

    def work(engines: Engines) -> tuple[dict[str, Any], bytes, bytes]:
        model = engines.open(vae)
        with TemporaryDirectory(prefix="vaekit-") as folder:
            paths = [written(Path(folder), f"image-{i}", image) for i, image in enumerate(wanted.images, start=1)]
            options = InterpolationOptions(wanted.steps, wanted.path, animation="webp")
            result = interpolate_files(model, paths, Path(folder) / "out", options)
            files = {file.suffix: file.read_bytes() for file in result.files}
            facts = {"ghosts": result.ghosts, "cross_fades": result.cross_fades, "notes": result.notes}
            return public(plain(facts), Path(folder)), files[".png"], files[".webp"]

    facts, strip, animation = await service.run(request, Alone(work), None)
    for media_type, content in ((PNG, strip), (WEBP, animation)):
        if accepts(request, media_type):
            return Response(content, headers=identity(vae), media_type=media_type)
    shown = {"strip": data_url(PNG, strip), "animation": data_url(WEBP, animation)}
    return json_response({"vae": vae.name, "items": points, **facts, **shown}, headers=identity(vae))


def interpolation_request(content: bytearray) -> InterpolationRequest:
    """Parse the body of a request to interpolate.

    Raises:
        Refusal: it is not valid.
    """
    given = json_object(bytes(content))
    images, steps, path = given.get("images"), given.get("steps", 7), given.get("path", "linear")
    known = given.keys() <= {"images", "steps", "path"} and isinstance(path, str) and type(steps) is int
    if not known or not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise Refusal(
            BAD, "bad_request", 'Expected {"images": [base64, base64, ...], "steps": integer, "path": "linear"}.'
        )
    if not FEWEST_IMAGES <= len(images) <= MOST_IMAGES or not 0 <= steps <= MOST_STEPS:
        raise Refusal(
            BAD,
            "bad_request",
            f"Expected {FEWEST_IMAGES} to {MOST_IMAGES} images, and 0 to {MOST_STEPS} steps between two.",
        )
    try:
        decoded = tuple(bytearray(base64.b64decode(image, validate=True)) for image in images)
    except (binascii.Error, ValueError):
        raise Refusal(BAD, "bad_request", "The images are not valid base64.") from None
    return InterpolationRequest(decoded, steps, path)
