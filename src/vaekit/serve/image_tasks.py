"""Tasks on one image of a client: reconstruct it, encode it, compare VAEs on it; as on the command line."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vaekit.checkpoints.latent_files import SUFFIX
from vaekit.comparison.candidates import VAECandidate
from vaekit.comparison.image_sources import images_in
from vaekit.json import plain
from vaekit.serve.engines import Engines
from vaekit.serve.image_requests import FILE, HTML, PNG, accepts, data_url, image_body, unusable, written
from vaekit.serve.public_text import public
from vaekit.serve.refusals import bad_query, json_response
from vaekit.serve.remote_query import boolean
from vaekit.serve.remote_tensors import identity
from vaekit.serve.remote_vae import vae_name
from vaekit.serve.service import Service
from vaekit.serve.work import Alone
from vaekit.tasks.compare import CompareOptions, compare_candidates
from vaekit.tasks.encode import encode as encode_files
from vaekit.tasks.options import ModelOptions, SelectionOptions
from vaekit.tasks.reconstruct import reconstruct as reconstruct_files

MEASURES = ("width", "height", "latent_shape", "compression", "psnr", "ssim", "color_shift", "seconds", "notes")
MOST_VAES = 8
"""Of a comparison."""


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


async def latents(service: Service, request: Request) -> Response:
    """Encode an image to the file that `vaekit encode` writes: the posterior, and whose it is."""
    vae = service.offer.find(vae_name(request))
    content = await image_body(service, request)

    def work(engines: Engines) -> bytes:
        model = engines.open(vae)
        with TemporaryDirectory(prefix="vaekit-") as folder:
            batch = encode_files(model, [written(Path(folder), "image", content)], Path(folder) / "out")
            if batch.failures:
                raise unusable(batch.failures[0].error, Path(folder))
            return batch.results[0].output.read_bytes()

    file = await service.run(request, Alone(work), None)
    service.count(vae, "encode", 1)
    headers = {**identity(vae), "Content-Disposition": f'attachment; filename="{vae.name}{SUFFIX}"'}
    return Response(file, headers=headers, media_type=FILE)
