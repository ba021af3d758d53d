"""A loaded diffusers pipeline whose VAE an engine runs: `vaekit.patch(pipe, memory="2GiB")`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from vaekit.checkpoints.load import load
from vaekit.errors import BadItem, BadPlan, UnknownVAE
from vaekit.interop.diffusers_engine import EngineVAE
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import DTYPES, Plan
from vaekit.vae import VAE

FRAMES = "num_frames"
"""The argument of pipelines that generate videos."""
METHODS = ("encode", "decode")


class EngineMethods:
    """`encode` and `decode` of a VAE of diffusers, run by an engine where its weights are, in their dtype.

    Args:
        original: the VAE of diffusers.
        vae: the same weights.
        memory: the limit for an image, see `Plan`.
    """

    def __init__(self, original: nn.Module, vae: VAE, memory: int | str | None) -> None:
        self.original, self.vae, self.memory = original, vae, memory
        self._adapter: tuple[Plan, EngineVAE] | None = None
        self.adapter()  # raises if it cannot be run

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """See `DiffusersVAE.encode`."""
        return self.adapter().encode(x, return_dict)

    def decode(self, z: Tensor, return_dict: bool = True, generator: object = None, **_: Any) -> Any:
        """See `DiffusersVAE.decode`."""
        return self.adapter().decode(z, return_dict)

    def adapter(self) -> EngineVAE:
        """An engine on the device of the weights, behind diffusers' interface."""
        self._load_weights()
        plan = plan_of(self.original, self.memory)
        if self._adapter is None or self._adapter[0] != plan:
            weights = next(self.original.parameters())
            self._adapter = (plan, EngineVAE(Engine(self.vae, plan), weights.dtype))
        return self._adapter[1]

    def _load_weights(self) -> None:
        """Let accelerate unload other models, as its hook does before the methods of diffusers."""
        hook = getattr(self.original, "_hf_hook", None)
        if hook is not None:
            hook.pre_forward(self.original)


def patch(pipe: Any, memory: int | str | None = None) -> None:
    """Run the VAE of a diffusers pipeline of images by an engine, with the same weights and results:

        pipe = StableDiffusionXLPipeline.from_pretrained(...).to("cuda")
        vaekit.patch(pipe, memory="2GiB")

    Images of any size are encoded and decoded within the memory, without tiles. `pipe.vae` stays diffusers' own: only
    its methods `encode` and `decode` are replaced, so that it is moved, cast, offloaded and saved as before. Its
    weights are kept a second time for the engine. A pipeline that is patched again gets the new limit.

    Args:
        pipe: the pipeline, with a VAE `pipe.vae` of diffusers.
        memory: the limit for encoding or decoding an image, without the weights: bytes, or a size such as "2GiB". None
            for most of the free memory. See `vaekit.Plan`.

    Raises:
        BadItem: the pipeline has no such VAE, or its weights are not loaded.
        BadPlan: it generates videos, or the limit or the dtype of the weights is not valid.
        UnknownVAE, NotRunnable, WrongTensors: vaekit does not know this kind of VAE.
        UnknownNormalization: its latents have no known normalization.
    """
    if FRAMES in inspect.signature(pipe.__call__).parameters:
        raise BadPlan(f"{type(pipe).__name__} generates videos.", "Expected a pipeline that generates images.", "")
    original: Any = getattr(pipe, "vae", None)
    before = vars(original).get(METHODS[0]) if original is not None else None
    known = getattr(before, "__self__", None)
    methods = EngineMethods(original, known.vae if isinstance(known, EngineMethods) else loaded(original), memory)
    for name in METHODS:
        setattr(original, name, getattr(methods, name))


def unpatch(pipe: Any) -> None:
    """Give the VAE of a pipeline its own methods back. Others are left as they are."""
    for name in METHODS:
        if isinstance(getattr(vars(pipe.vae).get(name), "__self__", None), EngineMethods):
            delattr(pipe.vae, name)


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
