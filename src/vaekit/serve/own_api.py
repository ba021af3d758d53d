"""vaekit's own API: list, inspect, reconstruct, compare and interpolate, by the same tasks as the command line."""

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vaekit.comparison.candidates import VAECandidate
from vaekit.comparison.image_sources import images_in
from vaekit.domains.images.read import LARGEST_IMAGE
from vaekit.errors import BadItem
from vaekit.json import json_object, plain
from vaekit.serve.engines import Engines
from vaekit.serve.image_bytes import check_pixels, image_size
from vaekit.serve.offer import OfferedVAE
from vaekit.serve.public_text import public, without_paths
from vaekit.serve.refusals import BAD, UNUSABLE, Refusal, bad_query, json_response
from vaekit.serve.remote_query import boolean
from vaekit.serve.remote_tensors import identity
from vaekit.serve.remote_vae import COMPRESSED_PIXEL, READING, vae_name
from vaekit.serve.request_body import body_length, check_length, read_body
from vaekit.serve.service import Service
from vaekit.serve.work import Alone
from vaekit.tasks.compare import CompareOptions, compare_candidates
from vaekit.tasks.interpolate import InterpolationOptions
from vaekit.tasks.interpolate import interpolate as interpolate_files
from vaekit.tasks.options import ModelOptions, SelectionOptions
from vaekit.tasks.reconstruct import reconstruct as reconstruct_files

JSON, HTML, PNG, WEBP = "application/json", "text/html", "image/png", "image/webp"
SHOWN = (
    *("family", "candidate_models", "used_by", "layout", "format", "halves", "latent_channels", "factor", "geometry"),
    *("compression", "normalization", "normalization_source", "padding_source", "parameters", "dtypes"),
    *("quantization", "fingerprint", "sha256", "catalog_entry", "recognized", "fp16", "problems", "domain"),
)
"""Facts of an inspection that are sent: none that name files of this machine."""
MEASURES = ("width", "height", "latent_shape", "compression", "psnr", "ssim", "color_shift", "seconds", "notes")
BYTES_PER_PIXEL = 64
"""For reading an image, running a task on it, measuring and writing results."""
FEWEST_IMAGES, MOST_IMAGES, MOST_STEPS, MOST_VAES = 2, 8, 30, 8
"""Of interpolations and comparisons."""
BASE64 = 4 / 3
"""Characters per byte."""


async def list_vaes(service: Service, _request: Request) -> Response:
    """The offered VAEs."""
    default = service.offer.default
    vaes = [{**summary(vae), "default": vae is default} for vae in service.offer]
    return json_response({"vaes": vaes})


async def list_models(service: Service, _request: Request) -> Response:
    """The offered VAEs in the form of OpenAI's list of models."""
    models = [{"id": vae.name, "object": "model", "owned_by": "vaekit"} for vae in service.offer]
    return json_response({"object": "list", "data": models})


async def inspect(service: Service, request: Request) -> Response:
    """What is known about one VAE."""
    return json_response(summary(service.offer.find(vae_name(request))))


def summary(vae: OfferedVAE) -> dict[str, Any]:
    """The facts about a VAE that are sent."""
    facts = {name: vae.facts[name] for name in SHOWN}
    return {"name": vae.name, **public(plain(facts), vae.path)}


async def reconstruct(service: Service, request: Request) -> Response:
    """Encode and decode an image, and measure the difference."""
    vae = service.offer.find(vae_name(request))
    content = await image_body(service, request)

    def work(engines: Engines) -> tuple[dict[str, Any], bytes]:
        model = engines.open(vae)
        with TemporaryDirectory(prefix="vaekit-") as folder:
            path = written(Path(folder), "image", content)
            batch = reconstruct_files(model, [path], Path(folder) / "out")
            if batch.failures:
                raise unusable(batch.failures[0].error, Path(folder))
            result = batch.results[0]
            facts = {name: value for name, value in vars(result).items() if name in MEASURES}
            return public(plain(facts), Path(folder)), result.output.read_bytes()

    facts, image = await service.run(request, Alone(work), None)
    service.count(vae, "encode", 1)
    service.count(vae, "decode", 1)
    if accepts(request, PNG):
        return Response(image, headers={**identity(vae), "x-vaekit-measures": json.dumps(facts)}, media_type=PNG)
    return json_response({"vae": vae.name, **facts, "image": data_url(PNG, image)}, headers=identity(vae))


async def compare(service: Service, request: Request) -> Response:
    """Compare VAEs on one image: a report as JSON, or its page."""
    names = request.query_params.getlist("vae") or [service.offer.default.name]
    if len(names) > MOST_VAES or len(set(names)) < len(names):
        raise bad_query(f"The parameter vae is given up to {MOST_VAES} times, with different names.")
    vaes, cards = [service.offer.find(name) for name in names], boolean(request.query_params, "cards")
    content = await image_body(service, request, len(vaes))

    def work(engines: Engines) -> tuple[Any, bytes]:
        # All are loaded at once; the limit of loaded VAEs is for those that wait for requests.
        candidates = [VAECandidate(vae.name, engines.open(vae).engine) for vae in vaes]
        with TemporaryDirectory(prefix="vaekit-") as folder:
            path = written(Path(folder), "image", content)
            sources, chosen = images_in([path], None, 0), SelectionOptions()
            out, options = Path(folder) / "report.html", CompareOptions(names, command="vaekit serve")
            result = compare_candidates(
                options, candidates, sources, out, ModelOptions(), engines.options, chosen, cards=cards
            )
            return public(json.loads(result.json.read_text("utf-8")), Path(folder)), result.page.read_bytes()

    report, page = await service.run(request, Alone(work), None)
    if accepts(request, HTML):
        # The page has scripts of its own, which the policy of this origin does not let run: it is for saving.
        headers = {"Content-Disposition": 'attachment; filename="report.html"'}
        return Response(page, headers=headers, media_type=HTML)
    return json_response(report)


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
