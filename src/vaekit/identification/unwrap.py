"""Present a file without the names of training wrappers inside the paths of its tensors."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from vaekit.errors import WrongTensors, counted, printable
from vaekit.formats.tensor_file import MOST_EXAMINED, Span, TensorFile
from vaekit.formats.wrapper_names import FLAT, unwrapped


@dataclass(frozen=True)
class UnwrappedFile:
    """A file whose tensors have names without wrappers, or with them, where they do not matter."""

    file: TensorFile
    originals: Mapping[str, list[str]]
    """The names in the file, by the name without wrappers."""

    def check_distinct(self, names: Iterable[str], averages: Collection[str] = ()) -> None:
        """Reject names that several tensors of the file have without their wrappers.

        Args:
            names: of the tensors that are used.
            averages: the names of averaged weights, which `AveragedModel` keeps in a module of the usual name.

        Raises:
            WrongTensors: there is such a name.
        """
        same = (self.originals.get(unwrapped(name), []) for name in names)
        distinct = ([each for each in originals if each not in averages] for originals in same)
        clash = next((originals for originals in distinct if len(originals) > 1), None)
        if clash:
            raise WrongTensors(
                f"{self.file.path} holds {' and '.join(map(printable, clash))}, which differ only in the names of "
                "training wrappers.",
                "Expected each tensor once.",
                "Save one of the two sets: the state dict of the network itself, without its wrapper.",
            )


def unwrap(file: TensorFile) -> UnwrappedFile | None:
    """The file without wrappers in the names of its tensors; None if no name has any, or if there are too many."""
    if len(file.specs) > MOST_EXAMINED:
        return None
    originals: dict[str, list[str]] = defaultdict(list)
    for name in file.specs:
        originals[unwrapped(name)].append(name)
    if originals.keys() == file.specs.keys():
        return None

    def read(names: Iterable[str]) -> dict[str, Tensor]:
        requested = list(names)
        tensors = file.read([originals[name][0] for name in requested])
        return {name: tensors[originals[name][0]] for name in requested}

    def span(name: str) -> Span | None:
        return file.span(originals[name][0])

    specs = {name: file.specs[names[0]] for name, names in originals.items()}
    return UnwrappedFile(replace(file, specs=specs, read=read, span=span), originals)


def flattened(file: TensorFile) -> WrongTensors | None:
    """The error for a file with the flattened parameters of FSDP; None for others."""
    flat = [name for name in file.specs if FLAT.fullmatch(name)]
    if not flat:
        return None
    return WrongTensors(
        f"{file.path} holds {counted(len(flat), 'flattened parameter')} of FSDP, such as {printable(flat[0])}: "
        "each joins all "
        "parameters of a module, without their names and shapes.",
        "Expected one tensor for each parameter.",
        "Save the full state dict: FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT).",
    )
