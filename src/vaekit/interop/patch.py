"""A loaded diffusers pipeline whose VAE an engine runs: `vaekit.patch(pipe, memory="2GiB")`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from vaekit.checkpoints.load import load
from vaekit.errors import BadItem, BadPlan, UnknownVAE
from vaekit.interop.diffusers_engine import EngineVAE
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import DTYPES, Plan
from vaekit.vae import VAE

FRAMES = "num_frames"
"""The argument of pipelines that generate videos."""


class PatchedVAE(EngineVAE):
    """The VAE of a pipeline, run by an engine, with the one that it stands for."""

    def __init__(self, engine: Engine, original: nn.Module) -> None:
        weights = next(original.parameters())
        super().__init__(engine, weights.dtype)
        # Within a tuple, it is no part of this module.
        self._original = (original, weights.device)

    def restored(self) -> nn.Module:
        """The original VAE, on the device where it was."""
        original, device = self._original
        return original.to(device)


def patch(pipe: Any, memory: int | str | None = None) -> None:
    """Run the VAE of a diffusers pipeline of images by an engine, with the same weights and results:

        pipe = StableDiffusionXLPipeline.from_pretrained(...).to("cuda")
        vaekit.patch(pipe, memory="2GiB")

    Images of any size are encoded and decoded within the memory, without tiles. The engine stays on the device where
    the VAE is: patch a pipeline after `pipe.to(...)`, and before `pipe.enable_model_cpu_offload()`. The original VAE is
    kept in the memory of the CPU for `unpatch`. A pipeline that is patched again gets the new limit.

    Args:
        pipe: the pipeline, with a VAE `pipe.vae` of diffusers.
        memory: the limit for encoding or decoding an image, without the weights: bytes, or a size such as "2GiB". None
            for most of the free memory. See `vaekit.Plan`.

    Raises:
        BadItem: the pipeline has no such VAE, or its weights are not loaded.
        BadPlan: it generates videos, or the limit is not valid.
        UnknownVAE, NotRunnable, WrongTensors: vaekit does not know this kind of VAE.
        UnknownNormalization: its latents have no known normalization.
    """
    if FRAMES in inspect.signature(pipe.__call__).parameters:
        raise BadPlan(f"{type(pipe).__name__} generates videos.", "Expected a pipeline that generates images.", "")
    vae: Any = getattr(pipe, "vae", None)
    original, known = (vae.restored(), vae.vae) if isinstance(vae, PatchedVAE) else (vae, loaded(vae))
    pipe.vae = PatchedVAE(Engine(known, plan_of(original, memory)), original)
    original.to("cpu")


def unpatch(pipe: Any) -> None:
    """Give a pipeline the VAE back that it had before `patch`. Others are left as they are."""
    if isinstance(pipe.vae, PatchedVAE):
        pipe.vae = pipe.vae.restored()


def loaded(original: Any) -> VAE:
    """The VAE with the weights and the config of one of diffusers.

    Raises:
        BadItem, UnknownVAE, NotRunnable, WrongTensors: see `patch`.
    """
    save: Callable[[str], object] | None = getattr(original, "save_pretrained", None)
    if not isinstance(original, nn.Module) or save is None:
        raise BadItem("The pipeline has no VAE of diffusers.", "Expected one as pipe.vae.", "")
    name = type(original).__name__
    if any(each.is_meta for each in original.parameters()):
        raise BadItem(
            f"The weights of {name} are not loaded.",
            "Expected weights in memory.",
            "Call vaekit.patch before pipe.enable_sequential_cpu_offload().",
        )
    with TemporaryDirectory(prefix="vaekit-") as folder:
        # Files state all that identifies a VAE.
        save(folder)
        try:
            return load(Path(folder))
        except UnknownVAE as error:
            raise type(error)(
                f"vaekit cannot run the VAE of this pipeline, {name}.", str(error).replace(folder, name), ""
            ) from None


def plan_of(original: nn.Module, memory: int | str | None) -> Plan:
    """The plan for running a VAE where it is, in its dtype."""
    weights = next(original.parameters())
    dtypes = [name for name, dtype in DTYPES.items() if dtype == weights.dtype]
    if not dtypes:
        raise BadPlan(f"The VAE is in {weights.dtype}.", f"Expected one of {', '.join(DTYPES)}.", "")
    return Plan(device=str(weights.device), dtype=dtypes[0], memory=memory)
