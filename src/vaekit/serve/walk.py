"""Walks through a latent space: points to items that are shown, of any domain; and directions of images."""

from math import prod
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from torch import Tensor

from vaekit.json import json_object
from vaekit.serve.engines import Engines
from vaekit.serve.image_bytes import PNG as PNG_FORMAT
from vaekit.serve.image_bytes import image_bytes
from vaekit.serve.image_requests import PNG, data_url
from vaekit.serve.refusals import BAD, TOO_LARGE, Refusal, json_response
from vaekit.serve.remote_tensors import identity
from vaekit.serve.remote_vae import vae_name
from vaekit.serve.request_body import body_length, check_length, read_body
from vaekit.serve.service import Service
from vaekit.serve.work import Alone
from vaekit.tasks.alterations import AlteredDirection, altered_directions
from vaekit.tasks.points import Point, ShownItem, latent_shape, latents_of, shown_items

MOST_POINTS = 16
"""Of one request."""
MOST_VALUES = 2**14
"""Of the latent of one point."""
LARGEST = 1e6
"""The largest value of a latent: decoders give nothing but overflows far out."""
MOST_TEXT = 1000
"""Characters of an item."""
MOST_SEED = 2**31 - 1
VALUE_BYTES = 32
"""Characters of a number in JSON, generously."""
POINT_BYTES = 2**21
"""Memory for one shown item: its tensors, its image and the texts of both."""
EXPECTED = '{"points": [{"text": "..."} or {"seed": integer} or {"latent": [number, ...]}, ...]}'


async def walk(service: Service, request: Request) -> Response:
    """The items at points of a latent space."""
    vae, limits = service.offer.find_any(vae_name(request)), service.options.limits
    length = body_length(request)
    check_length(length, MOST_POINTS * MOST_VALUES * VALUE_BYTES)
    service.check_room()
    service.reserve(request, length * 8)  # a number of few characters is an object of 32 bytes
    points = walk_points(await read_body(request, length, limits))
    service.reserve(request, len(points) * POINT_BYTES)

    def work(engines: Engines) -> tuple[Tensor, list[ShownItem]]:
        model = engines.open(vae)
        values = prod(latent_shape(model))
        if values > MOST_VALUES:
            raise Refusal(
                TOO_LARGE,
                "too_large",
                f"A latent of this VAE has {values:,} values; walks take up to {MOST_VALUES:,}.",
            )
        z = latents_of(model, points)
        return z, shown_items(model, z)

    z, items = await service.run(request, Alone(work), None)
    service.count(vae, "decode", len(items))
    shown = await service.convert(lambda: [plain_item(latent, item) for latent, item in zip(z, items, strict=True)])
    return json_response({"vae": vae.name, "shape": list(z.shape[1:]), "points": shown}, headers=identity(vae))


def plain_item(latent: Tensor, item: ShownItem) -> dict[str, Any]:
    """A point as JSON has it."""
    image = None if item.image is None else data_url(PNG, image_bytes(item.image.unsqueeze(0), PNG_FORMAT)[0])
    return {"latent": latent.flatten().tolist(), "text": item.text, "valid": item.is_valid, "image": image}


def walk_points(content: bytearray) -> list[Point]:
    """Parse the body of a request to walk.

    Raises:
        Refusal: it is not valid.
    """
    given = json_object(bytes(content))
    points = given.get("points")
    if given.keys() != {"points"} or not isinstance(points, list):
        raise Refusal(BAD, "bad_request", f"Expected {EXPECTED}.")
    if not 1 <= len(points) <= MOST_POINTS:
        raise Refusal(BAD, "bad_request", f"There are {len(points):,} points; expected 1 to {MOST_POINTS}.")
    return [walk_point(point) for point in points]


def walk_point(given: Any) -> Point:
    """Parse one point.

    Raises:
        Refusal: it is not valid.
    """
    match given:
        case {"text": str(text), **rest} if not rest and 0 < len(text.strip()) <= len(text) <= MOST_TEXT:
            return Point(text=text)
        case {"seed": int(seed), **rest} if not rest and type(seed) is int and 0 <= seed <= MOST_SEED:
            return Point(seed=seed)
        case {"latent": list(values), **rest} if not rest and 0 < len(values) <= MOST_VALUES:
            if all(type(value) in (int, float) and abs(value) <= LARGEST for value in values):
                return Point(latent=values)
    raise Refusal(
        BAD,
        "bad_request",
        f"Expected {EXPECTED}: texts of 1 to {MOST_TEXT:,} characters, seeds from 0 to {MOST_SEED:,}, up to "
        f"{MOST_VALUES:,} numbers.",
    )


async def directions(service: Service, request: Request) -> Response:
    """The directions of exposure, contrast and warmth in the latent space of a VAE of images."""
    vae = service.offer.find(vae_name(request))
    known = service.directions.get(vae)
    if known is None:
        service.check_room()
        known = await service.run(request, Alone(lambda engines: altered_directions(engines.open(vae))), None)
        service.directions[vae] = known
    return json_response(
        {"vae": vae.name, "directions": [plain_direction(each) for each in known]}, headers=identity(vae)
    )


def plain_direction(direction: AlteredDirection) -> dict[str, Any]:
    """A direction as JSON has it."""
    return {
        "name": direction.name,
        "kind": direction.kind,
        "vector": direction.vector.tolist(),
        "most": direction.most,
    }
