"""Walks over HTTP: VAEs of any domain, points, directions; and what hostile clients send."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from small_text import save_text_vae
from starlette.testclient import TestClient

from vaekit.serve.offer import Offer
from vaekit.serve.refusals import Refusal
from vaekit.serve.settings import Limits, ServeOptions
from vaekit.serve.walk import LARGEST, MOST_POINTS, MOST_TEXT, walk_points
from vaekit.tasks.model import open_model
from vaekit.tasks.options import EngineOptions, ModelOptions
from vaekit.tasks.points import Point, latents_of, shown_items

MakeClient = Callable[[ServeOptions], TestClient]
WALK = "/api/vaes/sentences/walk"


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served text") / "sentences.safetensors"
    save_text_vae(path)
    return path


@pytest.fixture
def both(make_client: MakeClient, vae_file: Path, text_file: Path) -> TestClient:
    """A server of images and sentences."""
    return make_client(ServeOptions((str(vae_file), str(text_file))))


def test_vaes_of_other_data_are_offered_apart(both: TestClient, no_paths: Callable[[str], None]) -> None:
    answer = both.get("/api/vaes")
    no_paths(answer.text)
    listed = answer.json()
    assert [vae["name"] for vae in listed["vaes"]] == ["small"]
    assert [(vae["name"], vae["domain"], vae["texts"]) for vae in listed["others"]] == [("sentences", "text", True)]
    assert both.get("/api/vaes/sentences").json()["domain"] == "text"
    assert [model["id"] for model in both.get("/v1/models").json()["data"]] == ["small"]


@pytest.mark.parametrize("path", ["/vaes/sentences/encode", "/api/vaes/sentences/reconstruct"])
def test_only_walks_take_them(both: TestClient, photo: bytes, path: str) -> None:
    answer = both.post(path, content=photo, headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["error"]) == (422, "wrong_domain")
    assert both.get("/api/vaes/sentences/directions").status_code == 422


def test_a_server_of_other_data_alone(text_file: Path, make_client: MakeClient) -> None:
    offer = Offer((str(text_file),), None)
    assert list(offer) == [] and offer.default.name == "sentences"
    with pytest.raises(Refusal):
        offer.find(None)
    client = make_client(ServeOptions((str(text_file),)))
    assert client.get("/api/vaes").json()["vaes"] == []
    assert client.post(WALK, json={"points": [{"seed": 0}]}).status_code == 200


def test_points_are_those_of_the_task(both: TestClient, text_file: Path) -> None:
    points = [{"text": "A dog runs."}, {"seed": 7}, {"latent": [0.5, 1]}]
    answer = both.post(WALK, json={"points": points}).json()
    model = open_model(ModelOptions(str(text_file)), EngineOptions(device="cpu"))
    z = latents_of(model, [Point(text="A dog runs."), Point(seed=7), Point(latent=[0.5, 1.0])])
    assert [point["latent"] for point in answer["points"]] == z.tolist()
    assert [point["text"] for point in answer["points"]] == [item.text for item in shown_items(model, z)]
    assert answer["shape"] == [2] and answer["vae"] == "sentences"


def test_items_that_are_drawn_are_images(make_client: MakeClient, vae_file: Path) -> None:
    client = make_client(ServeOptions((str(vae_file),)))
    answer = client.post("/api/vaes/small/walk", json={"points": [{"seed": 0}]})
    if answer.status_code == 413:  # its latents are maps of 4 x 64 x 64
        assert answer.json()["error"] == "too_large"
        return
    image = answer.json()["points"][0]["image"]
    assert Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2]))).format == "PNG"


BAD_POINTS = {
    "no points": {"points": []},
    "no list": {"points": {"seed": 1}},
    "another key": {"points": [{"seed": 1}], "path": "/etc/passwd"},
    "too many": {"points": [{"seed": 1}] * (MOST_POINTS + 1)},
    "a number": {"points": [1]},
    "nothing": {"points": [None]},
    "an empty point": {"points": [{}]},
    "two kinds": {"points": [{"seed": 1, "text": "A dog runs."}]},
    "a path": {"points": [{"path": "/etc/passwd"}]},
    "an empty text": {"points": [{"text": "  "}]},
    "a long text": {"points": [{"text": "a" * (MOST_TEXT + 1)}]},
    "a boolean seed": {"points": [{"seed": True}]},
    "a negative seed": {"points": [{"seed": -1}]},
    "a large seed": {"points": [{"seed": 2**80}]},
    "a fraction as a seed": {"points": [{"seed": 0.5}]},
    "no values": {"points": [{"latent": []}]},
    "texts as values": {"points": [{"latent": ["1", "2"]}]},
    "booleans as values": {"points": [{"latent": [True, False]}]},
    "large values": {"points": [{"latent": [0, LARGEST * 2]}]},
    "a large integer": {"points": [{"latent": [0, 10**400]}]},
    "nested values": {"points": [{"latent": [[1, 2]]}]},
}


@pytest.mark.parametrize("body", BAD_POINTS.values(), ids=BAD_POINTS)
def test_hostile_points_are_refused(body: object) -> None:
    with pytest.raises(Refusal) as refused:
        walk_points(bytearray(json.dumps(body).encode()))
    assert refused.value.status == 400


def test_hostile_bodies_are_refused_over_http(both: TestClient, no_paths: Callable[[str], None]) -> None:
    """And paths of files are texts like any other."""
    json_type = {"Content-Type": "application/json"}
    unusable = b'{"points": [{"latent": [1, 2, 3]}]}', b'{"points": [{"text": "A dog runs.\\nTwo dogs run."}]}'
    for status, bodies in (
        (400, (b"", b"{", b"[]", b'{"points": [{"latent": [NaN, 1]}]}', b"\xff", b'{"points":' + b"[" * 9000)),
        (422, unusable),
    ):
        for body in bodies:
            answer = both.post(WALK, content=body, headers=json_type)
            assert answer.status_code == status and set(answer.json()) == {"error", "message"}, body[:60]
            no_paths(answer.text)
    for text in ("/etc/passwd", "../../sentences.safetensors", "file:///etc/passwd", "\x00", "-h", "C:\\x"):
        answer = both.post(WALK, json={"points": [{"text": text}]})
        assert answer.status_code in (200, 400, 422)
        no_paths(answer.text)
        assert "root:" not in answer.text
    assert both.post(WALK, content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert both.post("/api/vaes/none/walk", json={"points": [{"seed": 1}]}).status_code == 404


def test_bodies_and_memory_are_limited(make_client: MakeClient, text_file: Path) -> None:
    client = make_client(ServeOptions((str(text_file),), limits=Limits(in_flight=1000)))
    answer = client.post(WALK, json={"points": [{"seed": 1}] * 10})
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    huge = {"Content-Type": "application/json", "Content-Length": str(2**40)}
    assert client.post(WALK, content=b"{}", headers=huge).status_code == 413


def test_directions(both: TestClient) -> None:
    answer = both.get("/api/vaes/small/directions").json()
    assert [each["name"] for each in answer["directions"]] == ["exposure", "contrast", "warmth"]
    assert {len(each["vector"]) for each in answer["directions"]} == {4}
    assert both.get("/api/vaes/small/directions").json() == answer, "the same from memory"
