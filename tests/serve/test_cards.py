"""Test cards as images."""

import io

from PIL import Image
from starlette.testclient import TestClient


def test_every_card_is_an_image(client: TestClient) -> None:
    listed = client.get("/api/cards").json()["cards"]
    assert {"text", "color-checker", "dead-leaves"} <= {card["name"] for card in listed}
    for card in listed[:2]:
        answer = client.get(f"/api/cards/{card['name']}")
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(answer.content)).size == (512, 384)


def test_unknown_cards(client: TestClient) -> None:
    for name in ("other", "..", "%2e%2e%2fcards", "text.png"):
        assert client.get(f"/api/cards/{name}").status_code == 404
