"""The page and the OpenAPI description."""

from starlette.requests import Request
from starlette.responses import Response

from vaekit.serve.endpoint import Endpoint
from vaekit.serve.endpoints import ENDPOINTS
from vaekit.serve.openapi import description
from vaekit.serve.page_files import MEDIA_TYPES
from vaekit.serve.refusals import NOT_FOUND, Refusal, json_response
from vaekit.serve.service import Service

INDEX = "index.html"
PAGE_TYPES = tuple(dict.fromkeys(media_type.partition(";")[0] for media_type in MEDIA_TYPES.values()))


async def openapi(_service: Service, _request: Request) -> Response:
    """The description of the API."""
    return json_response(description((*ENDPOINTS, *DOCUMENTS)))


async def page(service: Service, request: Request) -> Response:
    """A file of the page."""
    found = service.page.get(request.path_params.get("file", INDEX))
    if found is None:
        raise Refusal(NOT_FOUND, "not_found", "The page has no such file.")
    content, media_type = found
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})


DOCUMENTS = (
    Endpoint("GET", "/openapi.json", openapi, "This description.", ("application/json",)),
    Endpoint("GET", "/", page, "The page.", ("text/html",)),
)
FILES = Endpoint("GET", "/page/{file:path}", page, "A file of the page.", PAGE_TYPES)
