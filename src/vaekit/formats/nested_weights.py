"""Find the weights in a training checkpoint: at the top level, or nested under conventional names."""

from collections.abc import Mapping

from vaekit.errors import printable
from vaekit.formats.pickle_values import Placeholder
from vaekit.formats.torch_files import WITHOUT_STORAGE, StoredTensor

AUTOENCODERS = ("vae", "autoencoder", "first_stage_model", "vae_state_dict")
"""Names that say which of several networks is meant."""
AVERAGES = ("params_ema", "ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "g_ema")
"""Names of averaged weights, which are preferred for inference."""
WRAPPERS = (
    *("state_dict", "model", "module", "params", "model_state_dict", "net", "network", "weights", "generator"),
    *("checkpoint", "ckpt"),
)
"""Other names under which training programs keep the weights."""
METADATA = "vaekit"
"""The name under which vaekit keeps its own metadata in a checkpoint of torch."""
MOST_DOTS = 8
"""Dots in the name that leads to a dictionary in which tensors are still looked for where none is named customarily."""
DEEPEST = 4
"""Levels; {"module": {"vae": {"state_dict": ...}}} has three above the weights."""


Weights = dict[str, StoredTensor]


def weights_inside(content: object, levels: int = DEEPEST, seen: frozenset[int] = frozenset()) -> Weights:
    """The weights in a checkpoint; empty if there are none.

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


def nested_tensors(content: object) -> Weights:
    """Tensors in dictionaries within dictionaries, under dotted names: what optimizers and adapters are saved as."""
    found: Weights = {}
    seen = {id(content)}  # a hostile file may hold one dictionary in a million places
    holders = [("", content)] if isinstance(content, dict) else []
    while holders:
        prefix, holder = holders.pop()
        for name, value in holder.items():
            if isinstance(value, StoredTensor):
                found[f"{prefix}{name}"] = value
            elif isinstance(value, dict) and id(value) not in seen and prefix.count(".") < MOST_DOTS:
                seen.add(id(value))
                holders.append((f"{prefix}{name}.", value))
    return found


def others_beside(content: object, weights: Weights) -> tuple[str, ...]:
    """The names of what a checkpoint holds beside these weights: counters, optimizers, callbacks, configs."""
    taken = {id(tensor) for tensor in weights.values()}
    others: list[str] = []
    holders, seen = [content], {id(content)}
    while holders:
        holder = holders.pop()
        for name, value in holder.items() if isinstance(holder, dict) else ():
            if id(value) in taken or name == METADATA or id(value) in seen:
                continue
            if isinstance(value, dict) and any(id(inner) in taken for inner in value.values()):
                seen.add(id(value))
                holders.append(value)
            else:
                others.append(str(name))
    return tuple(others)


def own_metadata(content: object) -> dict[str, str]:
    """What vaekit writes into a checkpoint of torch beside the weights, as metadata of a safetensors file reads."""
    told = content.get(METADATA) if isinstance(content, dict) else None
    if not isinstance(told, dict):
        return {}
    return {key: text for key, text in told.items() if isinstance(key, str) and isinstance(text, str)}


def named_tensors(holder: Mapping[object, object]) -> Weights:
    """The tensors of a dictionary that have a name."""
    return {name: value for name, value in holder.items() if isinstance(name, str) and isinstance(value, StoredTensor)}


def describe_content(content: object) -> str:
    """What a pickle without weights holds instead, to stand behind "no named tensors"; empty where nothing is known."""
    if isinstance(content, Placeholder):  # often a whole model, which only its own program can rebuild
        return f", but an object of the class {printable(content.name)}"
    values = content.values() if isinstance(content, dict) else ()
    if any(isinstance(value, Placeholder) and value.name == WITHOUT_STORAGE for value in values):
        return ", but tensors that were written by pickle alone, each a pickle of its own, and not by torch.save"
    return ""
