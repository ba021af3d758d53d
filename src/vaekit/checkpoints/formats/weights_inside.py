"""Where the weights stand in what a training program saved: at the top, or some levels down under customary names."""

from collections.abc import Mapping

from vaekit.checkpoints.formats.pickled_values import Placeholder
from vaekit.checkpoints.formats.stored_tensors import WITHOUT_STORAGE, StoredTensor
from vaekit.errors import legible

AUTOENCODERS = ("vae", "autoencoder", "first_stage_model", "vae_state_dict")
"""Names that say which of several networks is meant."""
AVERAGES = ("params_ema", "ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "g_ema")
"""Names of averaged weights: those that a model is meant to be used with."""
WRAPPERS = (
    *("state_dict", "model", "module", "params", "model_state_dict", "net", "network", "weights", "generator"),
    *("checkpoint", "ckpt"),
)
"""Other names under which training programs keep the weights."""
DEEPEST = 4
"""Levels; {"module": {"vae": {"state_dict": ...}}} has three above the weights."""


Weights = dict[str, StoredTensor]


def weights_inside(content: object, levels: int = DEEPEST, seen: frozenset[int] = frozenset()) -> Weights:
    """The weights inside what was saved; empty where there are none.

    An autoencoder by name comes before all else. Of the others the one with the most tensors is taken, averaged
    weights before plain ones where they are as many: an average often leaves out what is not trained.

    Args:
        levels: how many dictionaries may stand around the weights, their own counted.
        seen: the dictionaries around this one; a pickle may hold itself.
    """
    if not isinstance(content, dict) or levels == 0 or id(content) in seen:
        return {}
    around = seen | {id(content)}
    for name in AUTOENCODERS:
        inner = weights_inside(content.get(name), levels - 1, around)
        if inner:
            return inner
    others = (weights_inside(content.get(name), levels - 1, around) for name in (*AVERAGES, *WRAPPERS))
    return max(others, key=len) or named_tensors(content)


def named_tensors(holder: Mapping[object, object]) -> Weights:
    """The tensors of a dictionary that have a name."""
    return {name: value for name, value in holder.items() if isinstance(name, str) and isinstance(value, StoredTensor)}


def what_instead(content: object) -> str:
    """What a pickle without weights holds instead, to stand behind "no named tensors"; empty where nothing is known."""
    if isinstance(content, Placeholder):  # often a whole model, which only its own program can rebuild
        return f", but an object of the class {legible(content.name)}"
    values = content.values() if isinstance(content, dict) else ()
    if any(isinstance(value, Placeholder) and value.name == WITHOUT_STORAGE for value in values):
        return ", but tensors that were written by pickle alone, each a pickle of its own, and not by torch.save"
    return ""
