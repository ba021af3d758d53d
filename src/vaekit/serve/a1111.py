"""The list of VAEs as front ends ask A1111 for it. Nothing can be selected: requests name their VAE."""

from starlette.requests import Request
from starlette.responses import Response

from vaekit.serve.refusals import json_response
from vaekit.serve.service import Service


async def list_vaes(service: Service, _request: Request) -> Response:
    """The offered VAEs; `filename`, a path of the server in A1111, is the name again."""
    return json_response([{"model_name": vae.name, "filename": vae.name} for vae in service.offer])


async def refresh(service: Service, _request: Request) -> Response:
    """Look into the models folders again."""
    await service.convert(service.offer.refresh)
    return json_response(None)
