"""The nodes for ComfyUI, with stand-ins for its modules and for its own nodes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from comfyui_stand_in import (
    Host,
    Interrupted,
    imported,
    load_pack,
    vae_decode,
    vae_decode_tiled,
    vae_encode,
    vae_encode_for_inpaint,
)
from refusals import refuses
from torch import Tensor

import vaekit
from vaekit.checkpoints.save import save
from vaekit.errors import BadItem, LatentMismatch, NotFound, TooLittleMemory
from vaekit.families import assemble, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

PACK = Path(__file__).parents[3] / "integrations" / "comfyui"
OWN = "the VAE's own"


def kl(channels: int, normalization: LatentNormalization | None) -> VAE:
    """SD1's or FLUX's structure in small, with random weights."""
    widths = (32, 32, 64, 64)
    config = KLConfig(3, channels, channels, widths, widths, 1, 2, (), (), True, True, True, 32)
    family = family_with(config)
    assert family is not None
    torch.manual_seed(0)
    return assemble(family, config, normalization=normalization).eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI's models/vae."""
    folder = tmp_path_factory.mktemp("vae")
    save(kl(4, LatentNormalization((0.0,), (0.18215,))), folder / "sd.safetensors", "ldm")
    return folder


@pytest.fixture(params=[False, True], ids=["older API", "newer API"])
def nodes(request: pytest.FixtureRequest, models: Path) -> Iterator[tuple[Host, dict[str, Any]]]:
    host = Host(models)
    with imported(host, request.param):
        module, classes = load_pack(PACK)
        assert not hasattr(module, "NODE_CLASS_MAPPINGS") or not request.param
        yield host, classes


def call(node: Any, **arguments: Any) -> Any:
    """The results of a node by either API."""
    if not hasattr(node, "INPUT_TYPES"):
        return node.execute(**arguments).result
    found = getattr(node(), node.FUNCTION)(**arguments)
    return found["result"] if isinstance(found, dict) else found


def loaded(nodes: tuple[Host, dict[str, Any]], name: str = "sd.safetensors", **settings: str) -> Any:
    """A VAE from the loader node."""
    asked = {"memory": "", "dtype": "fp32", "latents": OWN} | settings
    (vae,) = call(nodes[1]["VaekitLoadVAE"], vae_name=name, **asked)
    return vae


def image(height: int, width: int, count: int = 1, channels: int = 3) -> Tensor:
    """Images as ComfyUI has them."""
    return torch.rand(count, height, width, channels, generator=torch.Generator().manual_seed(1))


def test_both_apis_declare_the_same_nodes(nodes: tuple[Host, dict[str, Any]]) -> None:
    node = nodes[1]["VaekitLoadVAE"]
    assert set(nodes[1]) == {
        *("VaekitLoadVAE", "VaekitInspectVAE", "VaekitCompareVAEs", "VaekitInterpolateLatents"),
    }
    if hasattr(node, "INPUT_TYPES"):
        inputs = node.INPUT_TYPES()["required"]
        files, memory, returned = inputs["vae_name"][0], inputs["memory"], node.RETURN_TYPES
        assert memory[0] == "STRING" and memory[1]["default"] == ""
    else:
        schema = node.define_schema()
        files, returned = schema.inputs[0].options, tuple(each.kind for each in schema.outputs)
        assert schema.inputs[1].kind == "STRING" and schema.inputs[1].settings["default"] == ""
    assert files == ["sd.safetensors", "vaekit's built-in VAE"]
    assert returned == ("VAE",)


def test_stock_nodes_get_what_the_engine_gives(nodes: tuple[Host, dict[str, Any]], models: Path) -> None:
    vae = loaded(nodes)
    engine = vaekit.Engine(vaekit.load(models / "sd.safetensors"), vaekit.Plan(device="cpu"))
    pixels = image(64, 96, 2)
    latent = vae_encode(vae, pixels)
    assert torch.allclose(latent["samples"], engine.encode(pixels.movedim(-1, 1) * 2 - 1).mode, atol=1e-5)
    images = vae_decode(vae, latent)
    expected = ((engine.decode(latent["samples"]) + 1) / 2).clamp(0, 1).movedim(1, -1)
    assert images.shape == pixels.shape and torch.allclose(images, expected, atol=1e-5)
    assert torch.equal(vae_decode_tiled(vae, latent, 512, 64), images)
    frame = {"samples": latent["samples"][:, :, None]}
    assert torch.equal(vae_decode(vae, frame), images)
    assert [(bar.total, bar.done) for bar in nodes[0].bars] == [(2, 2)] * 4
    assert set(nodes[0].asked) == {2**30}


def test_a_large_image_in_little_memory_is_the_same(nodes: tuple[Host, dict[str, Any]]) -> None:
    latents = {"samples": torch.randn(1, 4, 64, 48, generator=torch.Generator().manual_seed(2))}
    whole = vae_decode(loaded(nodes), latents)
    limited = loaded(nodes, memory="48MiB")
    assert (vae_decode(limited, latents) - whole).abs().max() < 1e-4
    assert nodes[0].asked[-1] == 48 * 2**20
    with refuses(TooLittleMemory):
        vae_decode(loaded(nodes, memory="1MiB"), latents)


def test_room_is_made_where_free_memory_is_not_sufficient(nodes: tuple[Host, dict[str, Any]]) -> None:
    nodes[0].free = 1000
    vae = loaded(nodes)
    vae._free = lambda: 2**20
    vae_decode(vae, {"samples": torch.zeros(1, 4, 24, 16)})
    assert nodes[0].asked[0] == 2**30 and 2**20 < nodes[0].asked[1] < 2**28


def test_inpainting_and_sizes_that_do_not_fit(nodes: tuple[Host, dict[str, Any]]) -> None:
    vae = loaded(nodes)
    pixels, mask = image(70, 101), torch.zeros(1, 70, 101)
    mask[:, 20:40] = 1
    assert vae_encode_for_inpaint(vae, pixels, mask)["samples"].shape == (1, 4, 8, 12)
    latent = vae.encode(pixels)
    assert torch.equal(latent, vae.encode(pixels[:, 3:67, 2:98]))
    assert torch.equal(vae.encode_tiled(torch.cat([pixels, mask[..., None]], dim=3), tile_x=64), latent)
    with refuses(BadItem, "7x64"):
        vae.encode(image(64, 7))


def test_videos_are_refused(nodes: tuple[Host, dict[str, Any]]) -> None:
    with refuses(BadItem, "3 frames", "Load VAE"):
        loaded(nodes).decode(torch.zeros(1, 4, 3, 8, 8))
    with refuses(LatentMismatch):
        loaded(nodes).decode(torch.zeros(1, 16, 8, 8))


def test_a_run_can_be_interrupted_between_images(nodes: tuple[Host, dict[str, Any]]) -> None:
    vae = loaded(nodes)
    nodes[0].interrupt_after = 2
    with pytest.raises(Interrupted):
        vae.decode(torch.zeros(4, 4, 8, 8))
    assert nodes[0].bars[-1].done == 2


def test_latents_of_flux_2_are_normalized_within(nodes: tuple[Host, dict[str, Any]], models: Path) -> None:
    statistics = LatentNormalization.from_mean_and_std([0.1] * 128, [1.5] * 128, patch=2)
    vae = kl(32, statistics)
    made = type(loaded(nodes))(vae)
    assert (made.latent_channels, made.downscale_ratio) == (128, 16)
    latent = made.encode(image(64, 96))
    assert latent.shape == (1, 128, 4, 6)
    raw = vae.encode(image(64, 96).movedim(-1, 1) * 2 - 1).mode
    assert torch.allclose(latent, vae.normalize(raw), atol=1e-5)
    assert made.decode(latent).shape == (1, 64, 96, 3)


def test_tiny_vaes_need_the_model(nodes: tuple[Host, dict[str, Any]], models: Path) -> None:
    family = family_with(config := TinyConfig(3, 4, (), (64,) * 4, (64,) * 4, (1, 3, 3, 3), (3, 3, 3, 1), False))
    assert family is not None
    torch.manual_seed(0)
    save(assemble(family, config, normalization=LatentNormalization()).eval(), models / "taesd.safetensors")
    try:
        with refuses(LatentMismatch, "SD1", "SDXL", "latents"):
            loaded(nodes, "taesd.safetensors")
        with refuses(LatentMismatch, "FLUX.1"):
            loaded(nodes, "taesd.safetensors", latents="FLUX.1")
        raw, scaled = (loaded(nodes, "taesd.safetensors", latents=each) for each in ("SD1", "SDXL"))
        own = vaekit.load(models / "taesd.safetensors")
        latent = torch.randn(1, 4, 4, 4)
        with torch.no_grad():
            expected = ((own.decode(latent * 0.18215) + 1) / 2).clamp(0, 1).movedim(1, -1)
        assert torch.allclose(raw.decode(latent), expected, atol=1e-4)
        ratio = raw.encode(image(32, 32)) / scaled.encode(image(32, 32))
        assert torch.allclose(ratio, torch.full_like(ratio, 0.13025 / 0.18215), rtol=1e-3)
    finally:
        (models / "taesd.safetensors").unlink()


def test_inspect_compare_and_interpolate(nodes: tuple[Host, dict[str, Any]], models: Path) -> None:
    (facts,) = call(nodes[1]["VaekitInspectVAE"], vae_name="sd.safetensors")
    assert "family: kl" in facts and "4 channels at 1/8" in facts
    vae = loaded(nodes)
    shown, numbers = call(nodes[1]["VaekitCompareVAEs"], image=image(36, 32), vae_a=vae, vae_b=vae)
    assert shown.shape == (1, 36, 3 * 32 + 2 * 8, 3)
    assert numbers.startswith("A: PSNR ") and "\nB: PSNR" in numbers
    a, b = ({"samples": torch.full((2, 4, 8, 8), value)} for value in (0.0, 1.0))
    asked = {"samples_a": a, "samples_b": b, "steps": 3, "path": "linear"}
    (path,) = call(nodes[1]["VaekitInterpolateLatents"], **asked)
    assert path["samples"][:, 0, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    with refuses(LatentMismatch):
        call(nodes[1]["VaekitInterpolateLatents"], **asked | {"samples_b": {"samples": torch.zeros(1, 16, 8, 8)}})


def test_a_file_that_is_gone(nodes: tuple[Host, dict[str, Any]]) -> None:
    with refuses(NotFound):
        loaded(nodes, "gone.safetensors")


def test_the_pack_has_no_routes_and_no_web_folder() -> None:
    sources = "\n".join(path.read_text() for path in PACK.glob("*.py"))
    assert not any(word in sources for word in ("WEB_DIRECTORY", "PromptServer", "exec("))
    assert "comfy" not in sys.modules
