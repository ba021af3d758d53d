"""`diffusers.utils.remote_utils`, as it is installed, against a real server; results are those of the local engine."""

import io
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.remote_utils import remote_decode, remote_encode
from PIL import Image
from running_server import RunningServer, running_server
from torch import Tensor

import vaekit
from vaekit.checkpoints.save import save
from vaekit.domains.images.write import to_bytes
from vaekit.families import assemble, family_of
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.runtime.engine import Engine
from vaekit.serve.settings import ServeOptions

SCALE, SHIFT = 0.3611, 0.1159
HALF = 1e-3
"""The largest difference of values in [-1, 1] beside those of fp16 themselves."""


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TAESD, and a small VAE with the shapes of FLUX.1: 16 channels at 1/8."""
    taesd = shared_data / "vae" / "taesd"
    if not taesd.is_dir():
        pytest.skip("no TAESD in the shared data")
    made = tmp_path_factory.mktemp("models")
    (made / "taesd").symlink_to(taesd)
    torch.manual_seed(5)
    config = KLConfig(3, 16, 16, (8, 8, 8, 8), (8, 8, 8, 8), 1, 2, (), (), True, False, False, 4)
    save(assemble(family_of("kl"), config, normalization=LatentNormalization((SHIFT,), (SCALE,))), made / "flux.sft")
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    with running_server(ServeOptions(vaes=(str(folder / "taesd"), str(folder / "flux.sft")))) as running:
        yield running


@pytest.fixture(scope="module")
def taesd(folder: Path) -> Engine:
    return Engine(vaekit.load(folder / "taesd"))


@pytest.fixture(scope="module")
def flux(folder: Path) -> Engine:
    return Engine(vaekit.load(folder / "flux.sft"))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(str(files("sklearn.datasets.images") / "china.jpg")) as image:
        return image.crop((100, 50, 260, 186)).convert("RGB")


@pytest.fixture(scope="module")
def latents(taesd: Engine, photo: Image.Image) -> Tensor:
    """Of a real photograph, in fp16, as a diffusion model makes them."""
    return taesd.encode(pixels(photo)).mode.half()


def pixels(image: Image.Image) -> Tensor:
    """(1, 3, h, w) in [-1, 1], contiguous: `remote_encode` reads the memory of a copy that it has freed otherwise."""
    return (torch.tensor(np.asarray(image), dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1).contiguous()


def differ(image: Image.Image | list[Image.Image], expected: Tensor) -> int:
    """The largest difference in levels of 255."""
    assert isinstance(image, Image.Image)
    return int(np.abs(np.asarray(image).astype(int) - to_bytes(expected).astype(int)).max())


@pytest.mark.parametrize("address", ["/", "/decode", "/vaes/taesd/decode/"])
def test_pil_png(server: RunningServer, taesd: Engine, latents: Tensor, address: str) -> None:
    image = remote_decode(f"{server.url}{address}", latents, scaling_factor=1.0, image_format="png")
    assert isinstance(image, Image.Image) and image.format == "png"
    assert differ(image, taesd.decode(latents.float())) <= 1


def test_pil_jpg(server: RunningServer, taesd: Engine, latents: Tensor) -> None:
    image = remote_decode(server.url, latents, scaling_factor=1.0, image_format="jpg")
    assert isinstance(image, Image.Image) and image.format == "jpeg"
    file = io.BytesIO()
    Image.fromarray(to_bytes(taesd.decode(latents.float()))).save(file, "JPEG", quality=95, subsampling="4:4:4")
    with Image.open(file) as expected:
        assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_pt_with_and_without_a_processor(server: RunningServer, taesd: Engine, latents: Tensor) -> None:
    expected = taesd.decode(latents.float())
    values = remote_decode(server.url, latents, scaling_factor=1.0, output_type="pt", return_type="pt")
    assert isinstance(values, Tensor) and values.dtype == torch.float16
    assert (values.float() - expected).abs().max() <= HALF
    processor = VaeImageProcessor()
    image = remote_decode(server.url, latents, processor, scaling_factor=1.0, output_type="pt", return_type="pil")
    assert differ(image, expected) <= 1


def test_partial_postprocess(server: RunningServer, taesd: Engine, latents: Tensor) -> None:
    two = torch.cat([latents, latents.flip(3)])
    expected = taesd.decode(two.float())
    image = remote_decode(
        server.url, latents, scaling_factor=1.0, output_type="pt", return_type="pil", partial_postprocess=True
    )
    assert differ(image, expected[:1]) == 0
    images = remote_decode(
        server.url, two, scaling_factor=1.0, output_type="pt", return_type="pil", partial_postprocess=True
    )
    assert isinstance(images, list)
    assert [differ(image, each) for image, each in zip(images, expected.split(1), strict=True)] == [0, 0]


def test_pil_with_a_processor(server: RunningServer, taesd: Engine, latents: Tensor) -> None:
    images = remote_decode(
        server.url, latents.float(), VaeImageProcessor(), scaling_factor=1.0, output_type="pil", return_type="pil"
    )
    assert isinstance(images, list)
    assert differ(images[0], taesd.decode(latents.float())) <= 1


def test_packed_latents_with_scale_and_shift(server: RunningServer, flux: Engine) -> None:
    """Packed by diffusers' own pipeline."""
    from diffusers.pipelines.flux.pipeline_flux import FluxPipeline

    raw = torch.randn(1, 16, 16, 12, generator=torch.Generator().manual_seed(1))
    normalized = (raw - SHIFT) * SCALE
    packed = FluxPipeline._pack_latents(normalized, 1, 16, 16, 12)
    for tensor in (packed, normalized, normalized[0]):
        values = remote_decode(
            f"{server.url}/vaes/flux/decode",
            tensor,
            scaling_factor=SCALE,
            shift_factor=SHIFT,
            output_type="pt",
            return_type="pt",
            height=128,
            width=96,
        )
        assert isinstance(values, Tensor)
        assert torch.allclose(values, flux.decode(raw), atol=1e-4)


def test_no_scaling_and_the_deprecated_form(server: RunningServer, flux: Engine) -> None:
    raw = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(2))
    address = f"{server.url}/decode?vae=flux"
    values = remote_decode(address, raw, do_scaling=False, output_type="pt", return_type="pt")
    assert isinstance(values, Tensor) and torch.equal(values, flux.decode(raw))
    with pytest.warns(FutureWarning, match="do_scaling"):
        own = remote_decode(address, (raw - SHIFT) * SCALE, output_type="pt", return_type="pt")
    assert isinstance(own, Tensor) and torch.allclose(own, flux.decode(raw), atol=1e-4)


def test_the_deprecated_base64_is_binary(server: RunningServer, taesd: Engine, latents: Tensor) -> None:
    with pytest.warns(FutureWarning, match="base64"):
        image = remote_decode(
            server.url,
            latents,
            scaling_factor=1.0,
            image_format="png",
            input_tensor_type="base64",  # type: ignore[arg-type]
        )
    assert differ(image, taesd.decode(latents.float())) <= 1


@pytest.mark.parametrize("size", [(160, 136), (151, 93), (8, 232), (1, 1)])
def test_encode_at_odd_sizes(server: RunningServer, taesd: Engine, photo: Image.Image, size: tuple[int, int]) -> None:
    image = photo.resize(size)
    expected = taesd.encode(pixels(image)).mode
    z = remote_encode(f"{server.url}/encode", image)
    assert z.shape == expected.shape == (1, 4, -(-size[1] // 8), -(-size[0] // 8))
    assert (z - expected).abs().max() <= HALF
    of_tensor = remote_encode(f"{server.url}/vaes/taesd/encode/", pixels(image).half(), scaling_factor=0.5)
    assert of_tensor.dtype == torch.float16
    half = taesd.encode(pixels(image).half().float()).mode * 0.5
    assert (of_tensor.float() - half).abs().max() <= HALF


def test_there_and_back(server: RunningServer, taesd: Engine, photo: Image.Image) -> None:
    z = remote_encode(f"{server.url}/encode", photo, scaling_factor=SCALE, shift_factor=SHIFT)
    image = remote_decode(server.url, z, scaling_factor=SCALE, shift_factor=SHIFT, image_format="png")
    assert differ(image, taesd.reconstruct(pixels(photo))) <= 1


def test_errors_arrive_as_json(server: RunningServer) -> None:
    with pytest.raises(RuntimeError, match="bad_request"):
        remote_decode(server.url, torch.zeros(1, 5, 8, 8), scaling_factor=1.0)
    with pytest.raises(RuntimeError, match="too_large"):
        remote_decode(server.url, torch.zeros(1, 4, 3000, 1000, dtype=torch.float16), scaling_factor=1.0)
    with pytest.raises(RuntimeError, match="unknown_vae"):
        remote_encode(f"{server.url}/vaes/other/encode", torch.zeros(1, 3, 800, 800))


def test_a_token_in_the_address(folder: Path, latents: Tensor) -> None:
    options = ServeOptions(vaes=(str(folder / "taesd"),), token="a-token-of-some-length")
    with running_server(options) as server:
        with pytest.raises(RuntimeError, match="unauthorized"):
            remote_decode(server.url, latents, scaling_factor=1.0)
        address = f"http://vaekit:a-token-of-some-length@127.0.0.1:{server.port}"
        assert isinstance(remote_decode(address, latents, scaling_factor=1.0), Image.Image)
