"""Stand-ins for the modules of ComfyUI that a pack of nodes imports, and for how ComfyUI loads and calls nodes.

Written from facts about its interfaces (nodes.py, comfy/sd.py, comfy/model_management.py, comfy_api/latest).
"""

import asyncio
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class Interrupted(Exception):
    """ComfyUI's exception for a canceled run."""


class ModelPatcher:
    """Where weights are."""

    def __init__(self, model: nn.Module, load_device: torch.device, offload_device: torch.device) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device


class ProgressBar:
    """Counts updates."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def update(self, number: int) -> None:
        self.done += number


class Host:
    """State that tests set and read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.free = 2**33
        self.asked: list[int] = []
        """Memory that was asked for, call by call."""
        self.interrupt_after = -1
        self.bars: list[ProgressBar] = []

    def check(self) -> None:
        if self.interrupt_after == 0:
            raise Interrupted
        self.interrupt_after -= 1

    def bar(self, total: int) -> ProgressBar:
        self.bars.append(ProgressBar(total))
        return self.bars[-1]

    def load(self, models: list[ModelPatcher], memory_required: int = 0, **_: object) -> None:
        for each in models:
            each.model.to(each.load_device)
        self.asked.append(memory_required)

    def modules(self, newer_api: bool) -> dict[str, ModuleType]:
        """The modules by name."""
        cpu = torch.device("cpu")
        found = {
            "folder_paths": {
                "get_filename_list": lambda _: sorted(path.name for path in self.folder.iterdir()),
                "get_full_path_or_raise": lambda _, name: str(self.folder / name),
            },
            "comfy": {},
            "comfy.model_management": {
                "vae_device": lambda: cpu,
                "vae_offload_device": lambda: cpu,
                "intermediate_device": lambda: cpu,
                "load_models_gpu": self.load,
                "get_free_memory": lambda _: self.free,
                "throw_exception_if_processing_interrupted": self.check,
            },
            "comfy.model_patcher": {"ModelPatcher": ModelPatcher},
            "comfy.utils": {"ProgressBar": self.bar},
        }
        if newer_api:
            found |= {
                "comfy_api": {},
                "comfy_api.latest": {"io": io_module(), "ui": ui_module(), "ComfyExtension": object},
            }
        modules = {}
        for name, members in found.items():
            modules[name] = ModuleType(name)
            vars(modules[name]).update(members)
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(modules[parent], last, modules[name])
        return modules


def io_module() -> SimpleNamespace:
    """`comfy_api.latest.io`: types whose inputs and outputs are records."""

    def kind(name: str) -> Any:
        return SimpleNamespace(
            Input=lambda given, options=None, **settings: SimpleNamespace(
                id=given, kind=name, options=options, settings=settings
            ),
            Output=lambda display_name=None: SimpleNamespace(kind=name, display_name=display_name),
        )

    return SimpleNamespace(
        ComfyNode=object,
        Schema=lambda **fields: SimpleNamespace(**fields),
        NodeOutput=lambda *results, ui=None: SimpleNamespace(result=results, ui=ui),
        Custom=kind,
        **{name: kind(name.upper()) for name in ("Combo", "Int", "String")},
    )


def ui_module() -> SimpleNamespace:
    """`comfy_api.latest.ui`."""
    return SimpleNamespace(PreviewText=lambda value: SimpleNamespace(as_dict=lambda: {"text": (value,)}))


@contextmanager
def imported(host: Host, newer_api: bool) -> Iterator[None]:
    """Let the modules of ComfyUI be imported."""
    modules = host.modules(newer_api)
    before = {name: sys.modules.get(name) for name in [*modules, "comfy_api", "comfy_api.latest"]}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def load_pack(folder: Path) -> tuple[ModuleType, dict[str, Any]]:
    """A pack and its nodes by name, by the rule of ComfyUI: the older mappings hide the newer entry point."""
    name = str(folder).replace(".", "_x_")
    for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[each]
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    mappings = getattr(module, "NODE_CLASS_MAPPINGS", None)
    if mappings is not None:
        return module, dict(mappings)
    extension = module.comfy_entrypoint()
    if inspect.isawaitable(extension):
        extension = asyncio.run(_awaited(extension))
    classes = asyncio.run(extension.get_node_list())
    return module, {each.define_schema().node_id: each for each in classes}


async def _awaited(value: Any) -> Any:
    return await value


def vae_decode(vae: Any, latent: dict[str, Tensor]) -> Tensor:
    """What the node VAEDecode does."""
    images: Tensor = vae.decode(latent["samples"])
    return images.flatten(0, 1) if images.dim() == 5 else images


def vae_decode_tiled(vae: Any, latent: dict[str, Tensor], tile_size: int, overlap: int) -> Tensor:
    """What the node VAEDecodeTiled does for images."""
    assert vae.temporal_compression_decode() is None
    compression = vae.spacial_compression_decode()
    sizes = {"tile_x": tile_size // compression, "tile_y": tile_size // compression, "overlap": overlap // compression}
    images: Tensor = vae.decode_tiled(latent["samples"], **sizes, tile_t=None, overlap_t=None)
    return images.flatten(0, 1) if images.dim() == 5 else images


def vae_encode(vae: Any, pixels: Tensor) -> dict[str, Tensor]:
    """What the node VAEEncode does."""
    return {"samples": vae.encode(pixels[..., :3])}


def vae_encode_for_inpaint(vae: Any, pixels: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What the node VAEEncodeForInpaint does, without growing the mask: gray where the mask is."""
    ratio = vae.downscale_ratio
    rows, columns = (pixels.shape[axis] // ratio * ratio for axis in (1, 2))
    top, left = ((pixels.shape[axis] % ratio) // 2 for axis in (1, 2))
    part = pixels[:, top : top + rows, left : left + columns]
    kept = 1 - mask[:, top : top + rows, left : left + columns, None].round()
    return {"samples": vae.encode((part - 0.5) * kept + 0.5), "noise_mask": mask[:, None]}
