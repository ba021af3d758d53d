"""The nodes of integrations/comfyui in a checkout of ComfyUI, beside its own loader of VAEs, on the CPU.

    python bench/comfyui.py CHECKOUT [--packages FOLDER] [--size 512] [--large 1024] [--memory 512MiB]

CHECKOUT is a folder with ComfyUI's nodes.py; what it imports (torchsde, einops, aiohttp, psutil, ...) is installed, or
in the folder of --packages. torchvision, torchaudio, kornia and spandrel are replaced if they are absent: no VAE of
images uses them. A VAE with SD1's structure and random weights is written to a temporary folder of models and loaded by
ComfyUI's "Load VAE" and by "Load VAE (vaekit)", whose pack is loaded as ComfyUI loads packs. ComfyUI's own nodes
VAEEncode, VAEDecode, VAEDecodeTiled and VAEEncodeForInpaint then run both: the largest differences are printed, the
seconds, and for the large image the peak of memory above that before.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from measuring import MIB, forget_peak, heading, status
from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_with
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization

PACK = Path(__file__).parents[1] / "integrations" / "comfyui"
FILE = "sd1.safetensors"
UNUSED = ("torchvision", "torchaudio", "kornia", "spandrel")
"""What ComfyUI imports, and VAEs of images do not use."""


class Absent(MetaPathFinder, Loader):
    """Imports packages that are absent as modules with any content."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in self.names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Anything(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__path__ = []


class Anything(ModuleType):
    """A module in which every name is there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def sd1(folder: Path) -> None:
    """Write a VAE with SD1's structure."""
    widths = (128, 256, 512, 512)
    config = KLConfig(3, 4, 4, widths, widths, 2, 3, (), (), True, True, True, 32)
    family = family_with(config)
    assert family is not None
    torch.manual_seed(0)
    save(assemble(family, config, normalization=LatentNormalization((0.0,), (0.18215,))), folder / FILE, "ldm")


def comfy_nodes(checkout: Path, packages: Path | None, models: Path) -> dict[str, Any]:
    """The nodes of ComfyUI and of the pack, by name."""
    sys.meta_path.append(Absent([name for name in UNUSED if find_spec(name) is None]))
    sys.argv = ["main.py", "--cpu"]
    sys.path.insert(0, str(checkout))
    sys.path += [] if packages is None else [str(packages)]
    options: Any = __import__("comfy.options").options
    options.enable_args_parsing()
    folder_paths, nodes = __import__("folder_paths"), __import__("nodes")
    folder_paths.add_model_folder_path("vae", str(models))
    if not asyncio.run(nodes.load_custom_node(str(PACK))):
        raise SystemExit("ComfyUI could not load the pack.")
    found: dict[str, Any] = nodes.NODE_CLASS_MAPPINGS
    return found


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """A result, its seconds, and the peak of memory above that before in MiB."""
    forget_peak()
    before, started = status("VmRSS"), time.perf_counter()
    result = run()
    return result, time.perf_counter() - started, (status("VmHWM") - before) / MIB


def compare(nodes: dict[str, Any], stock: Any, ours: Any, size: int) -> None:
    """Differences for images of a size."""
    pixels = torch.rand(1, size, size + 24, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, size, size + 24)
    mask[:, size // 4 : size // 2] = 1
    runs: dict[str, Callable[[Any, Tensor], Tensor]] = {
        "VAEEncode": lambda vae, _: nodes["VAEEncode"]().encode(vae, pixels)[0]["samples"],
        "VAEEncodeForInpaint": lambda vae, _: nodes["VAEEncodeForInpaint"]().encode(vae, pixels, mask)[0]["samples"],
        "VAEDecode": lambda vae, z: nodes["VAEDecode"]().decode(vae, {"samples": z})[0],
    }
    z = runs["VAEEncode"](stock, pixels)
    for name, run in runs.items():
        (a, first, _), (b, second, _) = timed(lambda run=run: run(stock, z)), timed(lambda run=run: run(ours, z))
        print(f"{name:20} largest difference {(a - b).abs().max():.1e}, ComfyUI {first:.1f} s, vaekit {second:.1f} s")


def large(nodes: dict[str, Any], stock: Any, ours: Any, size: int) -> None:
    """A large latent: whole by ComfyUI, in its tiles, and by vaekit within the memory."""
    z = {"samples": torch.randn(1, 4, size // 8, size // 8, generator=torch.Generator().manual_seed(0))}
    tiled = nodes["VAEDecodeTiled"]()
    whole, *first = timed(lambda: nodes["VAEDecode"]().decode(stock, z)[0])
    cut, *second = timed(lambda: tiled.decode(stock, z, 512, 64)[0])
    own, *third = timed(lambda: tiled.decode(ours, z, 512, 64)[0])
    for name, image, (seconds, memory) in (
        ("ComfyUI, whole", whole, first),
        ("ComfyUI, tiles of 512", cut, second),
        ("vaekit, VAEDecodeTiled", own, third),
    ):
        print(f"{name:24} {seconds:6.1f} s {memory:7.0f} MiB, largest difference {(image - whole).abs().max():.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--large", type=int, default=1024)
    parser.add_argument("--memory", default="512MiB")
    asked = parser.parse_args()
    print(heading())
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        sd1(Path(folder))
        nodes = comfy_nodes(asked.checkout.resolve(), asked.packages, Path(folder))
        (stock,) = nodes["VAELoader"]().load_vae(FILE)
        loader = nodes["VaekitLoadVAE"]
        settings = {"vae_name": FILE, "memory": asked.memory, "dtype": "fp32", "latents": "the VAE's own"}
        ours = loader.EXECUTE_NORMALIZED(**settings).result[0]
        print(nodes["VaekitInspectVAE"].EXECUTE_NORMALIZED(vae_name=FILE).result[0])
        compare(nodes, stock, ours, asked.size)
        large(nodes, stock, ours, asked.large)


if __name__ == "__main__":
    main()
