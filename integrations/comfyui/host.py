"""What the nodes need of ComfyUI: files of VAEs, devices, memory, progress and interruptions."""

from pathlib import Path
from typing import Any

import comfy.model_management as models
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

FOLDER = "vae"


def vae_files() -> list[str]:
    """The names of the files in ComfyUI's folders of VAEs."""
    return list(folder_paths.get_filename_list(FOLDER))


def vae_path(name: str) -> Path:
    """The file of a name."""
    return Path(folder_paths.get_full_path_or_raise(FOLDER, name))


def patcher_of(network: nn.Module) -> Any:
    """The object by which ComfyUI moves weights between devices."""
    return ModelPatcher(network, load_device=models.vae_device(), offload_device=models.vae_offload_device())


def make_room(patcher: Any, memory: int) -> None:
    """Load the weights, and unload others until there is as much free memory, in bytes, where that is possible."""
    models.load_models_gpu([patcher], memory_required=memory)


def free_memory(device: torch.device) -> int:
    """Free memory in bytes."""
    return int(models.get_free_memory(device))


def output_device() -> torch.device:
    """Where images and latents are between nodes."""
    device: torch.device = models.intermediate_device()
    return device


def check_interrupted() -> None:
    """Raise ComfyUI's exception if the user canceled the run."""
    models.throw_exception_if_processing_interrupted()


def progress_bar(total: int) -> Any:
    """A progress bar, whose `update(1)` is called after each image."""
    return comfy.utils.ProgressBar(total)
