"""Explain pickles without named tensors: whole models, single tensors, frozen programs."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from vaekit.errors import BadCheckpoint, counted, printable, shorten
from vaekit.formats.magic_numbers import STATE_DICT
from vaekit.formats.pickle_names import is_standard
from vaekit.formats.pickle_values import Placeholder
from vaekit.formats.tensor_file import MOST_EXAMINED
from vaekit.formats.torch_files import WITHOUT_STORAGE, StoredTensor, TorchFile, UnreadTensor

SAVE_STATE = f"Load it in the program that wrote it, and save its weights there: {STATE_DICT}."

SAVE_ARRAYS = 'Load it in the program that wrote it, and save its arrays there: `numpy.savez("vae.npz", **arrays)`.'


def without_weights(path: Path, opened: TorchFile) -> BadCheckpoint:
    """The error for a torch file without named tensors."""
    content, remedy = explained(opened)
    return BadCheckpoint(f"{path} holds no named tensors, but {content}.", "Expected a dictionary of weights.", remedy)


def explained(opened: TorchFile) -> tuple[str, str]:
    """What a file without named tensors holds, as a phrase, and what to do about it."""
    content = opened.content
    values = list(content.values()) if isinstance(content, dict) else [content]
    tensors = content if isinstance(content, (list, tuple)) else values
    if opened.format == "torchscript":
        return "a frozen or optimized TorchScript program, whose weights are constants in its code", SAVE_STATE
    if any(isinstance(value, Placeholder) and value.name == WITHOUT_STORAGE for value in values):
        return "tensors that were pickled directly rather than with torch.save", SAVE_STATE
    whole = next((value.name for value in values if isinstance(value, Placeholder) and is_model(value.name)), None)
    if whole is not None and whole.startswith("numpy."):
        return "numpy arrays that were pickled directly", SAVE_ARRAYS
    if whole is not None:  # only its own program can load it
        return f"an object of the class {printable(whole)}, a model that was pickled whole", SAVE_STATE
    special = next(
        (value.kind for value in islice(deep_values(content), MOST_EXAMINED) if isinstance(value, UnreadTensor)), None
    )
    if special is not None:
        return (
            f"tensors of the class {printable(special)}, which only its own program can read",
            f"Load it there, convert them to plain tensors (torchao: `tensor.dequantize()`), and save {STATE_DICT}.",
        )
    shapes = [list(tensor.shape) for tensor in tensors if isinstance(tensor, StoredTensor)]
    if shapes:
        return (
            f"{counted(len(shapes), 'tensor')} without names, the first of shape {shapes[0]}",
            "Give the weights of the VAE.",
        )
    names = shorten(map(str, content), 5) if isinstance(content, dict) else ""
    found = f"a dictionary with {names}" if names else f"a {type(content).__name__} without weights"
    return found, "Give the file with the weights, which training programs often write beside this one."


def deep_values(content: object, levels: int = 3) -> Iterator[object]:
    """The values in nested dictionaries, up to some depth."""
    for value in content.values() if isinstance(content, dict) and levels else ():
        yield value
        yield from deep_values(value, levels - 1)


def is_model(name: str) -> bool:
    """Whether the class with this name may be a model: neither Python's own nor a special tensor."""
    module = name.rpartition(".")[0]
    return bool(module) and not is_standard(module)
