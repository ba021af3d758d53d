"""The OpenAPI description, made from the table of endpoints."""

from collections.abc import Iterable
from typing import Any

from vaekit.serve.endpoint import Endpoint, Parameter
from vaekit.version import __version__

REFUSALS = {
    "400": "A parameter or the body is malformed, or the Host header is unknown.",
    "401": "The token is missing or wrong.",
    "403": "A page of another origin sent the request.",
    "404": "There is no such VAE or path.",
    "408": "The body did not arrive in time.",
    "411": "The header Content-Length is missing.",
    "413": "The body, the image or the memory that it needs is too large.",
    "415": "The type of the body is not accepted.",
    "422": "The image or the latents cannot be processed by this VAE.",
    "503": "The server is busy, loading or stopping; see Retry-After.",
}
OF_BODIES = ("400", "408", "411", "413", "415", "422", "503")
OF_ALL = ("400", "401", "403")
BINARY = {"type": "string", "format": "binary"}
JSON = "application/json"


def description(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The description in OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation(endpoint)
    error = {
        "type": "object",
        "required": ["error", "message"],
        "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "vaekit", "version": __version__, "description": "Encode and decode with VAEs."},
        "paths": paths,
        "components": {
            "schemas": {"Error": error},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


def operation(endpoint: Endpoint) -> dict[str, Any]:
    """One method of one path."""
    codes = [*OF_ALL, *(OF_BODIES if endpoint.method == "POST" else ()), *(("404",) if "{" in endpoint.path else ())]
    errors = {
        code: {"description": REFUSALS[code], "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
        for code in sorted(set(codes))
    }
    answers = {"description": "The result.", "content": {each: content(each) for each in endpoint.answers}}
    described: dict[str, Any] = {"summary": endpoint.about, "responses": {"200": answers, **errors}}
    if endpoint.parameters:
        described["parameters"] = [parameter(each) for each in endpoint.parameters]
    if endpoint.bodies:
        described["requestBody"] = {"content": {each: content(each) for each in endpoint.bodies}}
    return described


def parameter(of: Parameter) -> dict[str, Any]:
    """One parameter; a repeated one is an array."""
    return {
        "name": of.name,
        "in": "path" if of.in_path else "query",
        "required": of.required,
        "description": of.about,
        "schema": dict(of.schema),
    }


def content(media_type: str) -> dict[str, Any]:
    """The schema of a body."""
    return {"schema": {"type": "object"} if media_type == JSON else BINARY}
