"""The names that training wrappers insert into the paths of tensors, and the names of averaged weights."""

import re

WRAPPERS = frozenset(
    {
        "module",  # DataParallel, DistributedDataParallel, DeepSpeed, AveragedModel
        "_module",  # Opacus
        "_orig_mod",  # torch.compile
        "_checkpoint_wrapped_module",
        "_fsdp_wrapped_module",
        "_fpw_module",  # fairscale
        "_forward_module",  # Lightning Fabric
        "_original_module",
    }
)
FLAT = re.compile(r"(?:.*\.)?_?flat_param(?:_\d+)?")
"""Names of the parameters in which FSDP joins all those of a module, without their names and shapes."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
AVERAGED_WORDS = frozenset({"ema", "swa", "average", "averaged", "averages", "averaging", "avg", "polyak", "shadow"})
PLAIN_WORDS = frozenset({"online", "current", "raw"})


def unwrapped(name: str) -> str:
    """A name without the wrappers in its path.

    >>> unwrapped("module.encoder._orig_mod.conv_in.weight"), unwrapped("local_module.main.module")
    ('encoder.conv_in.weight', 'local_module.main.module')
    """
    *path, last = name.split(".")
    return ".".join([*(part for part in path if part not in WRAPPERS), last])


def averaging(name: str) -> bool | None:
    """Whether a name states that weights are averages over training steps, or that they are not; None if neither.

    Of several words the last decides.

    >>> [averaging(name) for name in ("model_ema", "callbacks.EMACallback", "ema.online_model", "schema")]
    [True, True, False, None]
    """
    words = [word.lower() for word in WORD.findall(name)]
    decisive = [word in AVERAGED_WORDS for word in words if word in AVERAGED_WORDS | PLAIN_WORDS]
    return decisive[-1] if decisive else None
