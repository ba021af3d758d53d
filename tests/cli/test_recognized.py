"""VAEs that are recognized and do not run: `inspect` describes them, every other command refuses them by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from recognized_examples import RECOGNIZED, h3
from safetensors.torch import save_file

Run = Callable[..., Any]


def write(sample: str, path: Path) -> Path:
    """A small file with the names and the numbers of axes of a sample."""
    shapes = RECOGNIZED[sample][3]()
    small = {key: torch.zeros([min(size, 24) for size in shape]) for key, shape in shapes.items()}
    save_file(small, path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with one image."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "images" / "a.png")
    return tmp_path / "images"


@pytest.mark.parametrize("sample", ["Mage", "SeedVR2", "Sol", "SNAC"])
def test_every_command_refuses_it_by_name(run: Run, vae_file: Path, images: Path, tmp_path: Path, sample: str) -> None:
    vae, out, name = write(sample, tmp_path / "vae.safetensors"), tmp_path / "out", RECOGNIZED[sample][0]
    image = images / "a.png"
    for command in (
        ("reconstruct", image, "--vae", vae, "--out", out),
        ("encode", image, "--vae", vae, "--out", out),
        ("doctor", "--vae", vae),
        ("convert", vae, out, "--layout", "native"),
        ("extract", vae, out),
        ("bake", vae, vae_file, tmp_path / "new.safetensors"),
        ("compare", "--images", images, "--vae", vae, "--vae", vae_file, "--out", tmp_path / "page.html"),
        ("evaluate", "--data", images, "--vae", vae, "--out", out),
        ("diff", vae, vae_file),
        ("finetune", "--vae", vae, "--data", images, "--out", out),
    ):
        refused = run(*command, "--json")
        assert refused.code in (1, 2) and refused.out, (command, refused.err)
        error = refused.json["error"]
        assert error["kind"] == "NotRunnable" and name in error["found"], command
        assert command[0] == "bake" or error["remedy"].startswith("Run it in "), command
        assert not out.exists(), command


@pytest.mark.parametrize(
    ("sample", "facts"),
    [
        ("SeedVR2", ("SeedVR2", "used by", "16 channels at 1/8 size and 1/4 of the frames", "48x fewer", "0.9152")),
        (
            "LTX-2.5",
            ("LTX-2.5", "diffusion model", "1/32 size and 1/8 of the frames", "LTX2VideoDiffusionDecoderModel"),
        ),
        ("SNAC", ("SNAC", "Orpheus", "unknown number of channels", "vector-quantized")),
        ("capacitor", ("capacitor", "FLUX.2", "128 channels at 1/16 size", "diffusion")),
    ],
)
def test_inspect_says_what_it_is_and_who_uses_it(run: Run, tmp_path: Path, sample: str, facts: tuple[str, ...]) -> None:
    shapes = RECOGNIZED[sample][3]()
    save_file({key: torch.zeros(shape, dtype=torch.uint8) for key, shape in shapes.items()}, tmp_path / "x.safetensors")
    said = run("inspect", tmp_path / "x.safetensors")
    assert said.code == 0
    words = " ".join(said.out.split())
    for fact in facts:
        assert fact in words, said.out
    told = run("inspect", tmp_path / "x.safetensors", "--json").json
    assert (told["runnable"], told["family"]) == (False, RECOGNIZED[sample][0])
    assert told["used_by"] and told["media"] in ("images", "video", "sound")


def test_smaller_decoders_of_one_model_have_names_of_their_own(run: Run, tmp_path: Path) -> None:
    for blocks, name in ((36, "MiniMax-H3"), (24, "Sol-H3"), (26, "LynnReal light (MiniMax-H3)"), (12, "MiniMax-H3")):
        path = tmp_path / f"{blocks}.safetensors"
        save_file({key: torch.zeros([1] * len(shape)) for key, shape in h3(blocks).items()}, path)
        assert run("inspect", path, "--json").json["family"] == name
