"""Batches through real VAEs."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

import vaekit
from vaekit.checkpoints.save import save
from vaekit.errors import HalfMissing
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.serve.app import make_app
from vaekit.serve.engines import Engines
from vaekit.serve.offer import Offer
from vaekit.serve.service import Service
from vaekit.serve.settings import ServeOptions
from vaekit.serve.work import Alone, Decoding, Encoding
from vaekit.tasks.options import EngineOptions


@pytest.fixture
def vector_file(burgess_vae: vaekit.VAE, tmp_path: Path) -> Path:
    """A VAE of gray images of 32x32, whose networks run on batches, on a CPU too."""
    path = tmp_path / "vector.safetensors"
    save(burgess_vae, path)
    return path


def test_the_engine_decides_how_many_run_at_once(vector_file: Path, vae_file: Path) -> None:
    engines = Engines(EngineOptions(device="cpu", batch=16), kept=2)
    vector, small = Offer((str(vector_file), str(vae_file)), None)
    assert Encoding(vector, (32, 32)).most(engines) == Decoding(vector, (32, 32)).most(engines) == 16
    assert Decoding(small, (32, 32)).most(engines) == 1, "on a CPU, networks of any size run item by item"


def test_the_vaes_that_were_used_last_stay_loaded(vector_file: Path, vae_folder: Path) -> None:
    engines = Engines(EngineOptions(device="cpu"), kept=2)
    first, second, third = Offer((str(vector_file),), (vae_folder,))
    model = engines.open(first)
    engines.open(second)
    assert engines.open(first) is model
    engines.open(third)
    assert [engines.is_open(vae) for vae in (first, second, third)] == [True, False, True]


def test_a_half_that_is_missing_is_told_to_the_client(
    vae_file: Path, tmp_path: Path, make_client: Callable[[ServeOptions], TestClient], photo: bytes
) -> None:
    vae = vaekit.load(vae_file)
    vae.encoder = None
    path = tmp_path / "decoder.safetensors"
    save(vae, path)
    engine = Engine(vaekit.load(path), Plan(device="cpu"))
    with pytest.raises(HalfMissing):
        engine.items_at_once("encode", (32, 32))
    answer = make_client(ServeOptions(vaes=(str(path),))).post("/encode", content=photo)
    assert answer.status_code == 422 and answer.json()["error"] == "HalfMissing"


def test_requests_that_wait_run_in_one_batch(vector_file: Path) -> None:
    service = Service(ServeOptions(vaes=(str(vector_file),)))
    engine = Engine(vaekit.load(vector_file))
    opened, running = threading.Event(), threading.Event()
    inputs = [torch.full((1, engine.geometry.latent_channels, 1, 1), value) for value in (0.5, -1.0, 2.0)]
    query = {"shape": list(inputs[0].shape), "dtype": "float32", "output_type": "pt"}
    with TestClient(make_app(service), base_url="http://127.0.0.1") as client, ThreadPoolExecutor(3) as pool:
        (worker,) = service.workers
        worker.submit(Alone(lambda _: (running.set(), opened.wait(20))), None)
        assert running.wait(20)

        def ask(z: torch.Tensor) -> bytes:
            headers = {"Content-Type": "tensor/binary"}
            return client.post("/decode", params=query, content=z.numpy().tobytes(), headers=headers).content

        answers = [pool.submit(ask, z) for z in inputs]
        deadline = time.monotonic() + 20
        while worker.waiting < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        opened.set()
        for z, answer in zip(inputs, answers, strict=True):
            pixels = np.frombuffer(answer.result(20), np.float32).reshape(1, 1, 32, 32)
            assert np.allclose(pixels, engine.decode(z).numpy(), atol=1e-6)
        metrics = client.get("/metrics").text
    assert 'vaekit_batch_items_sum{direction="decode"} 3.0' in metrics
    assert 'vaekit_batch_items_count{direction="decode"} 1.0' in metrics
    assert 'vaekit_items_total{direction="decode",vae="vector"} 3.0' in metrics


def test_latents_of_flux2_are_rearranged_where_the_server_scales(
    flux2_vae: vaekit.VAE, tmp_path: Path, make_client: Callable[[ServeOptions], TestClient], photo: bytes
) -> None:
    path = tmp_path / "flux2.safetensors"
    save(flux2_vae, path)
    client, engine = make_client(ServeOptions(vaes=(str(path),))), Engine(vaekit.load(path))
    x = torch.rand(1, 3, 16, 24) * 2 - 1
    query = {"shape": list(x.shape), "dtype": "float32", "do_scaling": "True"}
    headers = {"Content-Type": "tensor/binary"}
    encoded = client.post("/encode", params=query, content=x.numpy().tobytes(), headers=headers)
    raw = engine.encode(x).mode
    z = engine.vae.normalize(raw)
    assert encoded.headers["shape"] == str(list(z.shape))
    assert np.allclose(np.frombuffer(encoded.content, np.float32).reshape(z.shape), z.numpy(), atol=1e-5)
    query |= {"shape": list(z.shape), "output_type": "pt"}
    decoded = client.post("/decode", params=query, content=encoded.content, headers=headers)
    assert decoded.status_code == 200, decoded.text
    pixels = np.frombuffer(decoded.content, np.float32).reshape(x.shape)
    assert np.allclose(pixels, engine.decode(raw).numpy(), atol=1e-3)
    odd = client.post("/encode?do_scaling=True", content=photo)
    assert odd.status_code == 422 and odd.json()["error"] == "wrong_size"


def test_two_devices_share_the_work(vae_file: Path) -> None:
    service = Service(ServeOptions(vaes=(str(vae_file),), devices=("cpu", "cpu")))
    opened = threading.Event()
    try:
        first, second = service.workers
        running = first.submit(Alone(lambda _: opened.wait(20)), None)
        waiting = first.submit(Alone(lambda _: "first"), None)
        assert service._least_busy() is second
        opened.set()
        assert running.result(20) and waiting.result(20) == "first"
    finally:
        service.close()


def test_gray_images(vector_file: Path, make_client: Callable[[ServeOptions], TestClient], photo: bytes) -> None:
    client = make_client(ServeOptions(vaes=(str(vector_file),)))
    wrong = client.post("/encode", content=photo)
    assert wrong.status_code == 422 and wrong.json()["error"] == "wrong_size"
    query = {"shape": [1, 5, 1, 1], "dtype": "float32", "image_format": "png"}
    headers = {"Content-Type": "tensor/binary", "Accept": "image/png"}
    image = client.post("/decode", params=query, content=bytes(20), headers=headers)
    assert image.status_code == 200, image.text
    encoded = client.post("/encode", content=image.content)
    assert encoded.headers["shape"] == "[1, 5, 1, 1]"
