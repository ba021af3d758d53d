"""Health, readiness and metrics."""

from starlette.requests import Request
from starlette.responses import Response

from vaekit.serve.refusals import BUSY, json_response
from vaekit.serve.service import READY, Service

OK = 200


async def health(_service: Service, _request: Request) -> Response:
    """Whether the process answers."""
    return json_response({"status": "ok"})


async def ready(service: Service, _request: Request) -> Response:
    """Whether requests are accepted; see `Service.state`."""
    state = service.state
    return json_response({"status": state}, OK if state == READY else BUSY)


async def metrics(service: Service, _request: Request) -> Response:
    """All metrics in Prometheus' text format."""
    text, media_type = service.metrics.text()
    return Response(text, media_type=media_type)
