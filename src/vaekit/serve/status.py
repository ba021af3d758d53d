"""Health, readiness and metrics."""

from starlette.requests import Request
from starlette.responses import Response

from vaekit.serve.endpoint import status_response
from vaekit.serve.service import Service


async def health(_service: Service, _request: Request) -> Response:
    """Whether the process answers."""
    return status_response(True, "ok")


async def ready(service: Service, _request: Request) -> Response:
    """Whether requests are accepted: the default VAE is loaded, and the server is not stopping."""
    text = "stopping" if service.draining else "ready" if service.ready else "loading"
    return status_response(service.ready, text)


async def metrics(service: Service, _request: Request) -> Response:
    """All metrics in Prometheus' text format."""
    text, media_type = service.metrics.text()
    return Response(text, media_type=media_type)
