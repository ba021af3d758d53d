"""List, inspect, reconstruct, compare and interpolate."""

import base64
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from starlette.testclient import TestClient

import vaekit
from vaekit.serve.settings import ServeOptions
from vaekit.tasks.decode import decode
from vaekit.tasks.encode import encode
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

MakeClient = Callable[[ServeOptions], TestClient]
PNG = {"Content-Type": "image/png"}


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def from_url(url: str) -> Image.Image:
    return opened(base64.b64decode(url.partition(",")[2]))


def test_list(client: TestClient, no_paths: Callable[[str], None]) -> None:
    answer = client.get("/api/vaes")
    no_paths(answer.text)
    assert [(vae["name"], vae["default"]) for vae in answer.json()["vaes"]] == [("small", True), ("wide-16", False)]
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["small", "wide-16"]


def test_inspect(client: TestClient, vae_file: Path, no_paths: Callable[[str], None]) -> None:
    answer = client.get("/api/vaes/small")
    no_paths(answer.text)
    facts, inspection = answer.json(), vaekit.inspect(vae_file, measure=False)
    assert facts["fingerprint"] == inspection.fingerprint
    assert facts["normalization"]["scale"] == [0.5]
    assert (facts["family"], facts["latent_channels"], facts["factor"]) == ("kl", 4, 4)
    assert client.get("/api/vaes/other").status_code == 404


def test_duplicates_and_unusable_files(
    make_client: MakeClient, vae_file: Path, tmp_path: Path, no_paths: Callable[[str], None]
) -> None:
    shutil.copy(vae_file, tmp_path / "copy.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    answer = make_client(ServeOptions((str(vae_file),), (tmp_path,))).get("/api/vaes")
    no_paths(answer.text)
    assert [(vae["name"], vae["duplicates"]) for vae in answer.json()["vaes"]] == [
        ("small", ["copy"]),
        ("copy", ["small"]),
    ]
    assert {vae["bytes"] for vae in answer.json()["vaes"]} == {vae_file.stat().st_size}
    [unusable] = answer.json()["unusable"]
    assert unusable["name"] == "broken" and str(tmp_path) not in unusable["reason"]
    assert unusable["reason"].startswith("This file")


def test_latent_files_are_those_of_encode(client: TestClient, photo: bytes, vae_file: Path, tmp_path: Path) -> None:
    answer = client.post("/api/vaes/small/latents", content=photo, headers=PNG)
    assert answer.status_code == 200, answer.text
    path = tmp_path / "image.latent.safetensors"
    path.write_bytes(answer.content)
    (tmp_path / "photo.png").write_bytes(photo)
    model = open_model(ModelOptions(str(vae_file)), EngineOptions())
    [own] = encode(model, [tmp_path / "photo.png"], tmp_path / "own").results
    mine, served = load_file(own.output), load_file(path)
    assert mine.keys() == served.keys() and all(torch.equal(mine[name], served[name]) for name in mine)
    assert decode(model, [path], tmp_path / "decoded").failures == []


def test_a1111(client: TestClient, no_paths: Callable[[str], None]) -> None:
    answer = client.get("/sdapi/v1/sd-vae")
    no_paths(answer.text)
    assert [vae["model_name"] for vae in answer.json()] == ["small", "wide-16"]
    assert client.post("/sdapi/v1/refresh-vae").status_code == 200
    assert client.post("/sdapi/v1/refresh-vae", json={}).status_code == 200


def test_reconstruct(client: TestClient, photo: bytes, no_paths: Callable[[str], None]) -> None:
    answer = client.post("/api/vaes/small/reconstruct", content=photo, headers=PNG)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["width"], result["height"]) == (63, 53)
    assert 0 < result["psnr"] < 60
    image = client.post("/api/vaes/small/reconstruct", content=photo, headers=PNG | {"Accept": "image/png"})
    assert image.headers["content-type"] == "image/png"
    assert from_url(result["image"]).tobytes() == opened(image.content).tobytes()
    no_paths(answer.text + image.headers["x-vaekit-measures"])


def test_compare(client: TestClient, photo: bytes, vae_folder: Path, no_paths: Callable[[str], None]) -> None:
    query = "/api/compare?vae=small&vae=wide-16"
    report = client.post(query, content=photo, headers=PNG)
    assert report.status_code == 200, report.text
    assert {each["name"] for each in report.json()["candidates"]} == {"small", "wide-16"}
    page = client.post(query, content=photo, headers=PNG | {"Accept": "text/html"})
    assert page.headers["content-disposition"].startswith("attachment")
    assert page.text.startswith("<!")
    no_paths(report.text)
    assert str(vae_folder) not in page.text and "/tmp" not in page.text
    for wrong in ("?vae=other", "?vae=small&vae=small", "?" + "&".join(["vae=small"] * 9), "?cards=maybe"):
        assert client.post(f"/api/compare{wrong}", content=photo, headers=PNG).status_code in (400, 404)


def test_interpolate(client: TestClient, photo: bytes, no_paths: Callable[[str], None]) -> None:
    other = io.BytesIO()
    opened(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other, "JPEG")
    images = [base64.b64encode(each).decode() for each in (photo, other.getvalue())]
    answer = client.post("/api/vaes/small/interpolate", json={"images": images, "steps": 2, "path": "spherical"})
    assert answer.status_code == 200, answer.text
    result = answer.json()
    no_paths(answer.text)
    assert result["items"] == 4 and len(result["ghosts"]) == 1
    assert from_url(result["strip"]).format == "PNG" and from_url(result["animation"]).format == "WEBP"
    strip = client.post(
        "/api/vaes/small/interpolate", json={"images": images, "steps": 2}, headers={"Accept": "image/webp"}
    )
    assert opened(strip.content).format == "WEBP"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"images": "x"}',
        b'{"images": ["AAAA"]}',
        b'{"images": ["?", "?"]}',
        b'{"images": ["AAAA", "AAAA"]}',
        b'{"images": ["AAAA", "AAAA"], "steps": 1e9}',
        b'{"images": ["AAAA", "AAAA"], "steps": 1000000}',
        b'{"images": ["AAAA", "AAAA"], "steps": true}',
        b'{"images": ["AAAA", "AAAA"], "path": 3}',
        b'{"images": ["AAAA", "AAAA"], "out": "/tmp/x"}',
        b'{"images": ["/etc/passwd", "/etc/passwd"]}',
    ],
)
def test_interpolations_that_are_refused(client: TestClient, body: bytes, no_paths: Callable[[str], None]) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/vaes/small/interpolate", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    no_paths(answer.text)


def test_an_unknown_path_of_latents(client: TestClient, photo: bytes) -> None:
    image = base64.b64encode(photo).decode()
    answer = client.post("/api/vaes/small/interpolate", json={"images": [image, image], "path": "../x"})
    assert answer.status_code == 422 and answer.json()["error"] == "BadPlan"


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "GIF")
    return file.getvalue()


def cut(photo: bytes) -> bytes:
    return photo[: len(photo) // 2]


@pytest.mark.parametrize("make", [lambda _: gif(), cut, lambda _: b"\x89PNG\r\n\x1a\n", lambda _: b"%!PS-Adobe-3.0"])
def test_images_that_are_refused(
    client: TestClient, photo: bytes, make: Callable[[bytes], bytes], no_paths: Callable[[str], None]
) -> None:
    for path in ("/encode", "/api/vaes/small/reconstruct", "/api/compare"):
        answer = client.post(path, content=make(photo), headers=PNG)
        assert answer.status_code == 422
        body: dict[str, Any] = answer.json()
        assert body["error"] in ("BadItem", "NothingEvaluated")
        no_paths(answer.text)
