"""Answers of the remote-VAE protocol are those of a local engine."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch import Tensor

import vaekit
from vaekit.domains.images.write import to_bytes
from vaekit.runtime.engine import Engine
from vaekit.serve.settings import Limits, ServeOptions
from vaekit.serve.tensor_bytes import DTYPES, bytes_of

MakeClient = Callable[[ServeOptions], TestClient]
TENSOR = {"Content-Type": "tensor/binary", "Accept": "tensor/binary"}


def latents(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def sent(client: TestClient, path: str, tensor: Tensor, headers: dict[str, str] = TENSOR, **query: Any) -> Any:
    parameters = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch."), **query}
    return client.post(path, params=parameters, content=bytes_of(tensor), headers=headers)


def tensor_in(answer: Any) -> Tensor:
    assert answer.status_code == 200, answer.text
    shape, dtype = json.loads(answer.headers["shape"]), DTYPES[answer.headers["dtype"]]
    return torch.frombuffer(bytearray(answer.content), dtype=dtype).reshape(shape)


def test_an_image_file(client: TestClient, engine: Engine) -> None:
    z = latents(1, 4, 9, 7)
    answer = sent(client, "/decode", z, TENSOR | {"Accept": "image/png"}, image_format="png")
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert np.array_equal(np.asarray(image), to_bytes(engine.decode(z)))
    jpeg = sent(client, "/decode", z, TENSOR | {"Accept": "image/jpeg"})
    assert jpeg.headers["content-type"] == "image/jpeg" and jpeg.content[:2] == b"\xff\xd8"


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_a_tensor_in_the_dtype_of_the_latents(client: TestClient, engine: Engine, dtype: str) -> None:
    z = latents(2, 4, 8, 6, dtype=DTYPES[dtype])
    pixels = tensor_in(sent(client, "/decode", z, output_type="pt"))
    assert torch.equal(pixels, engine.decode(z.float()).to(z.dtype))


def test_levels_of_8_bits(client: TestClient, engine: Engine) -> None:
    z = latents(2, 4, 8, 6)
    levels = tensor_in(sent(client, "/decode", z, output_type="pt", partial_postprocess="True"))
    expected = engine.decode(z)
    assert levels.shape == (2, 32, 24, 3) and levels.dtype == torch.uint8
    for one, other in zip(levels, expected.split(1), strict=True):
        assert np.array_equal(one.numpy(), to_bytes(other))


def test_pil_with_a_processor_is_a_tensor_from_0_to_1(client: TestClient, engine: Engine) -> None:
    z = latents(1, 4, 8, 6)
    values = tensor_in(sent(client, "/decode", z, output_type="pil"))
    assert torch.allclose(values, (engine.decode(z) / 2 + 0.5).clamp(0, 1), atol=1e-6)


def test_raw_latents_are_not_scaled_unless_asked(client: TestClient, engine: Engine) -> None:
    z = latents(1, 4, 8, 8)
    decoded = tensor_in(sent(client, "/decode", z, output_type="pt"))
    assert torch.equal(decoded, engine.decode(z))
    scaled = tensor_in(sent(client, "/decode", z, output_type="pt", scaling_factor=0.5, shift_factor=0.25))
    assert torch.allclose(scaled, engine.decode(z / 0.5 + 0.25), atol=1e-5)
    own = tensor_in(sent(client, "/decode", z, output_type="pt", do_scaling="True"))
    assert torch.allclose(own, engine.decode(engine.vae.denormalize(z)), atol=1e-5)


def test_an_unknown_normalization_is_not_guessed(client: TestClient) -> None:
    answer = sent(client, "/vaes/wide-16/decode", latents(1, 16, 8, 8), do_scaling="True")
    assert answer.status_code == 422 and answer.json()["error"] == "UnknownNormalization"


def test_packed_latents_are_those_of_flux(client: TestClient, vae_folder: Any) -> None:
    """Packed by hand as in the paper's code: squares of 2x2 become tokens of 64 values."""
    z = latents(1, 16, 6, 4)
    tokens = torch.stack([z[0, :, i : i + 2, j : j + 2].reshape(64) for i in (0, 2, 4) for j in (0, 2)])[None]
    engine = Engine(vaekit.load(vae_folder / "wide (16).safetensors"))
    answer = sent(client, "/vaes/wide-16/decode/", tokens, output_type="pt", height=24, width=16)
    assert torch.equal(tensor_in(answer), engine.decode(z))
    single = sent(client, "/vaes/wide-16/decode", z[0], output_type="pt", height=24, width=16)
    assert torch.equal(tensor_in(single), engine.decode(z))


def test_other_parameters_of_sdnext_are_accepted(client: TestClient, engine: Engine) -> None:
    z = latents(1, 4, 8, 8, dtype=torch.float16)
    more = {"input_tensor_type": "binary", "output_tensor_type": "binary", "scaling_factor": 0.5}
    pixels = tensor_in(sent(client, "/decode", z, output_type="pt", **more))
    assert torch.equal(pixels, engine.decode(z.float() / 0.5).half())


def test_height_and_width_crop(client: TestClient, engine: Engine) -> None:
    z = latents(1, 4, 8, 8)
    pixels = tensor_in(sent(client, "/decode", z, output_type="pt", height=30, width=29))
    assert torch.equal(pixels, engine.decode(z, (30, 29)))


@pytest.mark.parametrize("path", ["/", "/decode", "/decode/", "/decode?vae=small", "/vaes/small/decode"])
def test_all_addresses_of_the_default(client: TestClient, engine: Engine, path: str) -> None:
    z = latents(1, 4, 8, 8)
    answer = sent(client, path, z, output_type="pt")
    assert torch.equal(tensor_in(answer), engine.decode(z))


def test_the_answer_says_which_vae(client: TestClient, engine: Engine) -> None:
    headers = sent(client, "/decode", latents(1, 4, 8, 8)).headers
    assert headers["x-vaekit-vae"] == "small" and headers["x-vaekit-latents"] == "mode"
    listed = client.get("/api/vaes/small").json()
    assert headers["x-vaekit-fingerprint"] == listed["fingerprint"] != ""


def pixels_of(photo: bytes) -> Tensor:
    with Image.open(io.BytesIO(photo)) as image:
        values = torch.tensor(np.asarray(image), dtype=torch.float32) / 127.5 - 1
    return values.permute(2, 0, 1)[None]


def test_an_image_is_encoded_to_the_mode(client: TestClient, engine: Engine, photo: bytes) -> None:
    expected = engine.encode(pixels_of(photo)).mode
    for headers in ({}, {"Content-Type": "image/png"}):
        z = tensor_in(client.post("/encode", content=photo, headers=headers))
        assert z.dtype == torch.float32 and torch.allclose(z, expected, atol=1e-6)
    scaled = tensor_in(client.post("/encode?scaling_factor=0.5&shift_factor=0.1", content=photo))
    assert torch.allclose(scaled, (expected - 0.1) * 0.5, atol=1e-6)
    own = tensor_in(client.post("/encode?do_scaling=True", content=photo))
    assert torch.allclose(own, engine.vae.normalize(expected), atol=1e-6)


def test_a_tensor_is_encoded_in_its_dtype(client: TestClient, engine: Engine, photo: bytes) -> None:
    x = pixels_of(photo)
    assert torch.equal(tensor_in(sent(client, "/encode", x)), engine.encode(x).mode)
    half = tensor_in(sent(client, "/encode", x.half()))
    assert half.dtype == torch.float16 and torch.equal(half, engine.encode(x.half().float()).mode.half())
    levels = ((x + 1) * 127.5).round().to(torch.uint8)
    assert torch.allclose(tensor_in(sent(client, "/encode", levels)), engine.encode(x).mode, atol=1e-5)


def test_many_clients_get_their_own_results(client: TestClient, engine: Engine) -> None:
    inputs = [latents(1, 4, 8, 8) * number for number in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda z: sent(client, "/decode", z, output_type="pt"), inputs))
    for z, answer in zip(inputs, answers, strict=True):
        assert torch.equal(tensor_in(answer), engine.decode(z))


REFUSED: list[tuple[int, str, dict[str, Any], bytes]] = [
    (400, "wrong_length", {"shape": [1, 4, 8, 8], "dtype": "float32"}, b"x" * 1023),
    (400, "wrong_length", {"shape": [1, 4, 8, 8], "dtype": "float32"}, b""),
    (422, "not_finite", {"shape": [1, 4, 1, 1], "dtype": "float32"}, b"\xff" * 16),
    (422, "not_finite", {"shape": [1, 4, 1, 1], "dtype": "float16"}, b"\x00\x7c" * 4),
    (413, "too_large", {"shape": [1, 4, 1000, 1000], "dtype": "float16"}, b""),
    (413, "too_large", {"shape": [1, 4, 2**20, 2**20], "dtype": "float16"}, b""),
    (400, "bad_request", {"shape": [2, 4, 1, 1], "dtype": "float16"}, b"x" * 16),
    (400, "bad_request", {"shape": [17, 4, 1, 1], "dtype": "float16", "output_type": "pt"}, b"x" * 136),
]


@pytest.mark.parametrize(("status", "code", "query", "body"), REFUSED)
def test_what_is_refused(
    make_client: MakeClient, options: ServeOptions, status: int, code: str, query: dict[str, Any], body: bytes
) -> None:
    client = make_client(replace(options, limits=Limits(pixels=2**20)))
    headers = {"Content-Type": "tensor/binary", "Accept": "image/png"}
    answer = client.post("/decode", params=query, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_memory_limits(make_client: MakeClient, options: ServeOptions) -> None:
    """What the network needs, and what the request needs, are limited separately."""
    client = make_client(replace(options, memory="64MiB"))
    answer = sent(client, "/decode", latents(1, 4, 32, 32))
    assert answer.status_code == 200
    beside = sent(client, "/decode", latents(1, 4, 192, 192))
    assert beside.status_code == 413 and beside.json()["error"] == "too_large"
    small = make_client(replace(options, memory="36MiB"))
    network = sent(small, "/decode", latents(1, 4, 16, 16))
    assert network.status_code == 413 and network.json()["error"] == "TooLittleMemory"
