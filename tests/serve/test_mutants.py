"""Variations of valid requests: none is answered with 5xx, and no answer names a path."""

import io
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image
from starlette.testclient import TestClient

from vaekit.serve.settings import Limits, ServeOptions

COUNT = 150
NAMES = ("shape", "dtype", "scaling_factor", "shift_factor", "do_scaling", "height", "width", "output_type", "vae", "x")
VALUES = (
    "1",
    "4",
    "0",
    "-1",
    "1e5",
    "nan",
    "True",
    "False",
    "pil",
    "pt",
    "png",
    "float16",
    "uint8",
    "",
    "../x",
    "1e-320",
)
IMAGE_PATHS = ("/encode", "/vaes/small/encode/", "/api/vaes/small/reconstruct", "/vaes/wide-16/encode")


def images() -> list[bytes]:
    """One of each format, and PNGs of several modes."""
    made = []
    for mode, name in (("RGB", "PNG"), ("RGB", "JPEG"), ("RGB", "WEBP"), ("1", "PNG"), ("LA", "PNG"), ("P", "PNG")):
        file = io.BytesIO()
        Image.linear_gradient("L").resize((33, 20)).convert(mode).save(file, name)
        made.append(file.getvalue())
    return made


def mutated(content: bytes, draw: random.Random) -> bytes:
    """With some bytes changed, cut off or added."""
    changed = bytearray(content)
    for _ in range(draw.randint(0, 5)):
        kind = draw.random()
        if kind < 0.7:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        elif kind < 0.8:
            del changed[draw.randrange(1, len(changed)) :]
        else:
            changed += draw.randbytes(20)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(2))
def test_variations_of_requests(
    make_client: Callable[[ServeOptions], TestClient], options: ServeOptions, seed: int, no_paths: Callable[[str], None]
) -> None:
    client = make_client(replace(options, limits=Limits(pixels=2**14)))
    draw, originals, seen = random.Random(seed), images(), set()
    for _ in range(COUNT):
        query = [(draw.choice(NAMES), draw.choice(VALUES)) for _ in range(draw.choice((0, 0, 1, 2)))]
        if draw.random() < 0.5:
            path, body, content_type = draw.choice(IMAGE_PATHS), mutated(draw.choice(originals), draw), "image/png"
        else:
            shape = draw.choice(([1, 4, 3, 5], [4, 4, 4], [2, 4, 1, 1], [1, 4, 16], [1, 4, 0, 2]))
            query += [("dtype", "float16"), *(("shape", str(extent)) for extent in shape)]
            length = 2 * shape[0] * shape[1] * shape[2] * (shape[3] if len(shape) > 3 else 1)
            path, body, content_type = "/decode", draw.randbytes(length), "tensor/binary"
        answer = client.post(path, params=query, content=body, headers={"Content-Type": content_type})
        assert answer.status_code < 500, (path, query, answer.text)
        if answer.status_code != 200:
            no_paths(answer.text)
        seen.add(answer.status_code)
    assert {200, 400, 422} <= seen
