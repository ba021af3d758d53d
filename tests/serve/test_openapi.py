"""The description is true: of every route, its parameters, bodies and answers."""

import inspect
import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from vaekit.serve import (
    converted_files,
    header_inspection,
    image_tasks,
    interpolation,
    offered_vaes,
    remote_query,
    remote_vae,
)
from vaekit.serve.app import make_app
from vaekit.serve.documents import DOCUMENTS
from vaekit.serve.endpoints import ENDPOINTS
from vaekit.serve.security import Guard
from vaekit.serve.service import Service
from vaekit.serve.settings import ServeOptions

EXAMPLES = {"vae": "small", "card": "text"}


@pytest.fixture
def described(client: TestClient) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def test_it_describes_exactly_the_routes(described: dict[str, Any], options: ServeOptions) -> None:
    service = Service(options)
    try:
        app = make_app(service)
        assert isinstance(app, Guard)
        inner = app._app
        assert isinstance(inner, Starlette)
        routes = [route for route in inner.routes if isinstance(route, Route)]
        real = {(route.path, method) for route in routes for method in (route.methods or ()) if method != "HEAD"}
    finally:
        service.close()
    stated = {(path, method.upper()) for path, item in described["paths"].items() for method in item}
    assert stated | {("/page/{file:path}", "GET")} == real


def test_every_get_answers_as_described(client: TestClient, described: dict[str, Any]) -> None:
    for path, item in described["paths"].items():
        if "get" in item:
            answer = client.get(path.format(**EXAMPLES))
            assert str(answer.status_code) in item["get"]["responses"] or path == "/ready"
            if answer.status_code == 200:
                media_type = answer.headers["content-type"].partition(";")[0]
                assert media_type in item["get"]["responses"]["200"]["content"]


def test_every_post_takes_the_described_types_only(client: TestClient, described: dict[str, Any]) -> None:
    for path, item in described["paths"].items():
        if "post" not in item:
            continue
        for media_type in item["post"]["requestBody"]["content"]:
            answer = client.post(path.format(**EXAMPLES), content=b"", headers={"Content-Type": media_type})
            assert answer.status_code != 415
        answer = client.post(path.format(**EXAMPLES), content=b"x", headers={"Content-Type": "application/x-other"})
        assert answer.status_code == 415


def test_parameters_are_those_that_the_code_reads() -> None:
    """The names in the source of the parsers, and those in the table."""
    texts = [
        inspect.getsource(module)
        for module in (
            remote_query,
            remote_vae,
            image_tasks,
            interpolation,
            offered_vaes,
            converted_files,
            header_inspection,
        )
    ]
    read = set(re.findall(r'(?:query_params|query)(?:\.getlist|\.get)?[(,]\s*"(\w+)"', " ".join(texts)))
    read |= set(re.findall(r'for name in \("(\w+)", "(\w+)"\)', " ".join(texts))[0])
    read |= set(re.findall(r'for name in \("(\w+)", "(\w+)"\)', " ".join(texts))[1])
    stated = {
        parameter.name
        for endpoint in (*ENDPOINTS, *DOCUMENTS)
        for parameter in endpoint.parameters
        if not parameter.in_path
    }
    assert stated == read


def test_parameters_in_the_path_are_described() -> None:
    for endpoint in ENDPOINTS:
        in_path = {parameter.name for parameter in endpoint.parameters if parameter.in_path}
        assert in_path == set(re.findall(r"{(\w+)}", endpoint.path))
