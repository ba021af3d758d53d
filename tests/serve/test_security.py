"""Who may send requests, and what every answer carries."""

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from vaekit.serve.settings import ServeOptions

MakeClient = Callable[[ServeOptions], TestClient]
TOKEN = "a token of some length"


def test_every_answer_has_the_headers(client: TestClient) -> None:
    for path in ("/health", "/", "/page/main.js", "/nothing", "/api/vaes/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8190", "127.0.0.1:1", "[::1]:8190", "vae.lan"])
def test_own_names(make_client: MakeClient, options: ServeOptions, host: str) -> None:
    client = make_client(replace(options, hosts=("vae.lan",)))
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "localhost:x", "", "10.0.0.1", "a/b"]
)
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    """As after DNS rebinding, whatever the path."""
    for path in ("/health", "/api/vaes", "/"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400 and answer.json()["error"] == "unknown_host"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:8191", "http://localhost:8190", "127.0.0.1:8190", "*"]
)
def test_other_origins_are_refused(client: TestClient, origin: str) -> None:
    for send in (client.get, client.post, client.options):
        answer = send("/api/vaes", headers={"Origin": origin})
        assert answer.status_code == 403 and answer.json()["error"] == "foreign_origin"
        assert "access-control-allow-origin" not in answer.headers


def test_the_own_origin_is_accepted(client: TestClient) -> None:
    assert client.get("/api/vaes", headers={"Origin": "http://127.0.0.1:8190"}).status_code == 200


def test_browsers_say_where_a_request_comes_from(client: TestClient) -> None:
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/api/vaes", headers=cross).status_code == 403
    assert client.get("/", headers=cross | {"Sec-Fetch-Mode": "navigate"}).status_code == 200, "a link to the page"
    assert client.post("/", headers=cross | {"Sec-Fetch-Mode": "navigate"}).status_code == 403, "a form"
    assert client.get("/api/vaes", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_a_named_origin_may_read_answers(make_client: MakeClient, options: ServeOptions) -> None:
    client = make_client(replace(options, origins=("https://tool.example",)))
    answer = client.get("/api/vaes", headers={"Origin": "https://tool.example", "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://tool.example"
    assert "access-control-allow-credentials" not in answer.headers
    assert "shape" in answer.headers["access-control-expose-headers"]
    preflight = client.options("/decode", headers={"Origin": "https://tool.example"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == "content-type, authorization"
    for other in ("https://tool.example:444", "http://tool.example", "https://tool.example.evil"):
        assert client.get("/api/vaes", headers={"Origin": other}).status_code == 403


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "TEXT/PLAIN;charset=utf-8"],
)
def test_types_that_any_page_can_send_are_refused(client: TestClient, content_type: str) -> None:
    for path in ("/", "/decode", "/encode", "/api/compare", "/sdapi/v1/refresh-vae", "/api/vaes/small/interpolate"):
        answer = client.post(path, content=b"x", headers={"Content-Type": content_type})
        assert answer.status_code == 415 and answer.json()["error"] == "wrong_content_type"


def test_a_type_may_be_missing_for_programs_only(client: TestClient, photo: bytes) -> None:
    """diffusers sends none with images. Browsers leave it out, too, but say that they are browsers."""
    assert client.post("/encode", content=photo).status_code == 200
    for header in ("Origin", "Sec-Fetch-Site"):
        value = "http://127.0.0.1:8190" if header == "Origin" else "same-origin"
        assert client.post("/encode", content=photo, headers={header: value}).status_code == 415
    assert client.post("/api/vaes/small/reconstruct", content=photo).status_code == 415


def test_compressed_bodies_are_refused(client: TestClient, photo: bytes) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    assert client.post("/encode", content=photo, headers=headers).status_code == 415


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"any:{password}".encode()).decode()


def test_the_token(make_client: MakeClient, options: ServeOptions) -> None:
    client = make_client(replace(options, token=TOKEN))
    for path in ("/health", "/ready"):
        assert client.get(path).status_code in (200, 503)
    for path in ("/api/vaes", "/metrics", "/openapi.json", "/", "/page/main.js", "/nothing"):
        for wrong in (None, "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", basic("wrong"), "Basic ?", TOKEN, "Basic é"):
            headers = {} if wrong is None else {"Authorization": wrong.encode("utf-8")}
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401 and answer.json()["error"] == "unauthorized"
        for right in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic(TOKEN)):
            assert client.get(path, headers={"Authorization": right}).status_code in (200, 404)


def test_no_endpoint_changes_anything_by_get(client: TestClient) -> None:
    for path in ("/decode", "/encode", "/api/compare", "/sdapi/v1/refresh-vae"):
        answer = client.get(path)
        assert answer.status_code == 405 and answer.json()["error"] == "not_found"
    for path in ("/sdapi/v1/options", "/shutdown", "/api/vaes/small"):
        assert client.post(path, json={"sd_vae": "x"}).status_code in (404, 405)
