"""Find the weights in a training checkpoint: at the top level, or nested under conventional names."""

from collections.abc import Mapping

from vaekit.formats.torch_files import StoredTensor

AUTOENCODERS = ("vae", "autoencoder", "first_stage_model", "vae_state_dict")
"""Names of the VAE among several networks."""
AVERAGES = ("params_ema", "ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "g_ema")
"""Names of averaged weights, which are preferred for inference."""
WRAPPERS = (
    *("state_dict", "model", "module", "params", "model_state_dict", "net", "network", "weights", "generator"),
    *("checkpoint", "ckpt"),
)
"""Other names under which training programs store the weights."""
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


def named_tensors(holder: Mapping[object, object]) -> Weights:
    """The tensors of a dictionary that have string keys."""
    return {name: value for name, value in holder.items() if isinstance(name, str) and isinstance(value, StoredTensor)}
