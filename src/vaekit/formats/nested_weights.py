"""Find the weights in a training checkpoint: at the top level, or nested under conventional names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaekit.formats.torch_files import StoredTensor, UnreadTensor
from vaekit.formats.wrapper_names import averaging

AUTOENCODERS = ("vae", "autoencoder", "first_stage_model", "vae_state_dict")
"""Names of the VAE among several networks."""
AVERAGES = ("params_ema", "ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "g_ema")
"""Names of averaged weights, which are preferred for inference."""
WRAPPERS = (
    *("state_dict", "model", "module", "params", "model_state_dict", "net", "network", "weights", "generator"),
    *("checkpoint", "ckpt"),
)
"""Other names under which training programs store the weights."""
OPTIMIZERS = ("optim", "opt_", "lr_sched")
"""The first letters of names under which training programs store the state of optimizers."""
LAST_WEIGHTS = "current_model_state"
"""The name of the plain weights in a checkpoint of Lightning whose "state_dict" holds their averages."""
METADATA = "vaekit"
"""The name under which vaekit stores its metadata in a torch checkpoint."""
MOST_DOTS = 8
"""The maximum depth of nested dictionaries that are searched if there are no weights under conventional names."""
DEEPEST = 4
"""The maximum number of levels; {"module": {"vae": {"state_dict": ...}}} has three above the weights."""


Weights = dict[str, StoredTensor]


def weights_inside(content: object, levels: int = DEEPEST, parents: frozenset[int] = frozenset()) -> Weights:
    """The weights in a checkpoint; empty if there are none.

    A network named as an autoencoder is preferred. Otherwise the dictionary with the most tensors is, and averaged
    weights over plain ones with equally many tensors: averages often lack frozen tensors.

    Args:
        levels: the maximum depth of the weights' dictionary.
        parents: the ids of the dictionaries that contain this one; a pickle may contain itself.
    """
    if not isinstance(content, dict) or levels == 0 or id(content) in parents:
        return {}
    path = parents | {id(content)}
    for name in AUTOENCODERS:
        inner = weights_inside(content.get(name), levels - 1, path)
        if inner:
            return inner
    others = (weights_inside(content.get(name), levels - 1, path) for name in (*AVERAGES, *WRAPPERS))
    return max(others, key=len) or named_tensors(content)


def nested_tensors(content: object) -> Weights:
    """Tensors in nested dictionaries, under dotted names, as optimizers and adapters are saved."""
    weights: Weights = {}
    visited = {id(content)}  # a hostile file may contain one dictionary a million times
    holders = [("", content)] if isinstance(content, dict) else []
    while holders:
        prefix, holder = holders.pop()
        for name, value in holder.items():
            if isinstance(value, StoredTensor):
                weights[f"{prefix}{name}"] = value
            elif isinstance(value, dict) and id(value) not in visited and prefix.count(".") < MOST_DOTS:
                visited.add(id(value))
                holders.append((f"{prefix}{name}.", value))
    return weights


@dataclass(frozen=True)
class WeightDictionary:
    """A dictionary of tensors in a checkpoint."""

    path: str
    """Its names, separated by dots; empty for the checkpoint itself."""
    averaged: bool
    """Whether it holds averages over training steps."""
    weights: Weights
    unread: Mapping[str, UnreadTensor] = field(default_factory=dict)
    """Tensors beside them that cannot be read."""


def dictionaries_in(content: object, taken: Weights) -> tuple[WeightDictionary, list[WeightDictionary]]:
    """The dictionary of the weights that were taken, and the others with tensors.

    Averages that are stored as a list in the order of the weights (`shadow_params` of torch_ema) get their names.
    """
    own, others = WeightDictionary("", False, taken), []
    ids = {id(tensor) for tensor in taken.values()}
    for path, averaged, holder in holders_in(content):
        weights = named_tensors(holder) if isinstance(holder, dict) else named_in_order(holder, taken)
        held = {id(tensor) for tensor in weights.values()}
        if held == ids:
            own = WeightDictionary(path, averaged, taken, unread_in(holder))
        elif not held <= ids:
            others.append(WeightDictionary(path, averaged, weights))
    return own, others


def holders_in(content: object) -> Iterator[tuple[str, bool, Any]]:
    """The dictionaries and lists in a checkpoint, with their paths and whether these state averages."""
    waiting: list[tuple[str, bool, Any, int]] = [("", False, content, 0)]
    visited = {id(content)}
    while waiting:
        path, averaged, holder, depth = waiting.pop()
        yield path, averaged, holder
        for name, value in holder.items() if isinstance(holder, dict) and depth < DEEPEST else ():
            is_holder = isinstance(value, (dict, list, tuple)) and id(value) not in visited
            if is_holder and not str(name).startswith(OPTIMIZERS):
                visited.add(id(value))
                inside = f"{path}.{name}" if path else str(name)
                stated = averaging(inside)
                # Lightning's WeightAveraging exchanges the two.
                exchanged = name == "state_dict" and LAST_WEIGHTS in holder
                waiting.append((inside, exchanged if stated is None else stated, value, depth + 1))


def named_in_order(values: Sequence[object], weights: Weights) -> Weights:
    """Tensors in the order of other weights, under their names; empty if their number or shapes differ."""
    if len(values) != len(weights):
        return {}
    named = {name: value for name, value in zip(weights, values, strict=True) if isinstance(value, StoredTensor)}
    same = len(named) == len(weights) and all(named[name].shape == weights[name].shape for name in weights)
    return named if same else {}


def others_beside(content: object, weights: Weights) -> tuple[str, ...]:
    """The names of other content of a checkpoint: counters, optimizers, callbacks, configs."""
    taken = {id(tensor) for tensor in weights.values()}
    others: list[str] = []
    holders, visited = [content], {id(content)}
    while holders:
        holder = holders.pop()
        for name, value in holder.items() if isinstance(holder, dict) else ():
            if id(value) in taken or name == METADATA or id(value) in visited:
                continue
            if isinstance(value, dict) and any(id(inner) in taken for inner in value.values()):
                visited.add(id(value))
                holders.append(value)
            else:
                others.append(str(name))
    return tuple(others)


def own_metadata(content: object) -> dict[str, str]:
    """The metadata that vaekit writes into a torch checkpoint beside the weights."""
    entries = content.get(METADATA) if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        return {}
    return {key: text for key, text in entries.items() if isinstance(key, str) and isinstance(text, str)}


def unread_in(holder: object) -> dict[str, UnreadTensor]:
    """The tensors of a dictionary that cannot be read and have string keys."""
    items = holder.items() if isinstance(holder, dict) else ()
    return {name: value for name, value in items if isinstance(name, str) and isinstance(value, UnreadTensor)}


def named_tensors(holder: Mapping[object, object]) -> Weights:
    """The tensors of a dictionary that have string keys."""
    return {name: value for name, value in holder.items() if isinstance(name, str) and isinstance(value, StoredTensor)}
