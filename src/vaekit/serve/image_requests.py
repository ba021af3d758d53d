"""Requests whose body is an image, and forms of answers with images."""

import base64
from pathlib import Path

from starlette.requests import Request

from vaekit.domains.images.read import LARGEST_IMAGE
from vaekit.errors import BadItem
from vaekit.serve.image_bytes import check_pixels, image_size
from vaekit.serve.public_text import without_paths
from vaekit.serve.refusals import UNUSABLE, Refusal
from vaekit.serve.remote_vae import COMPRESSED_PIXEL, READING
from vaekit.serve.request_body import body_length, check_length, read_body
from vaekit.serve.service import Service

JSON, HTML, PNG, WEBP = "application/json", "text/html", "image/png", "image/webp"
FILE = "application/octet-stream"
BYTES_PER_PIXEL = 64
"""For reading an image, running a task on it, measuring and writing results."""


async def image_body(service: Service, request: Request, results: int = 1) -> bytearray:
    """The image file in the body, whose header has been checked.

    Args:
        service: the limits.
        request: the request.
        results: images that are made from it.

    Raises:
        Refusal, BadItem: it is too large, late, or no image of an accepted format.
    """
    limits, length = service.options.limits, body_length(request)
    check_length(length, min(limits.pixels, LARGEST_IMAGE) * COMPRESSED_PIXEL)
    service.check_room()
    service.reserve(request, length)
    content = await read_body(request, length, limits)
    height, width = image_size(content)
    check_pixels(height, width, limits.pixels)
    service.reserve(request, height * width * (READING + results * BYTES_PER_PIXEL))
    return content


def written(folder: Path, name: str, content: bytearray) -> Path:
    """A file with an image of a client, under a name of ours."""
    path = folder / f"{name}.png"  # formats are recognized by their content
    path.write_bytes(content)
    return path


def unusable(message: str, folder: Path) -> Refusal:
    """The refusal of an image that a task could not process."""
    return Refusal(UNUSABLE, BadItem.__name__, without_paths(message, folder))


def accepts(request: Request, media_type: str) -> bool:
    """Whether the client asks for a type by its name; without that, answers are JSON."""
    return media_type in request.headers.get("accept", "")


def data_url(media_type: str, content: bytes) -> str:
    """A file in a text."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
