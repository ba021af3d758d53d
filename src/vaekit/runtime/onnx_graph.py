"""Write ONNX files, and run them with onnxruntime.

torch has two exporters. The TorchScript one (`dynamo=False`) is deprecated, and what a network computes with sizes in
Python it writes down as it was at the size of the example. The one used here translates a torch.export program, in
which sizes are symbols: all nets of `vaekit.nets` come through as they are, with free sizes. It needs onnxscript.
"""

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vaekit.optional import require

EXTRA = "onnx"
AXES = ("batch", "channels", "rows", "columns")
LARGEST_FILE = 2**31 - 2**24
"""Bytes of weights that go into the file itself: it is one protobuf message, and those end at 2 GiB."""


def require_onnx(running: bool) -> None:
    """See that the packages are there, before work is done.

    Raises:
        MissingPackage: one is not.
    """
    for package in ("onnx", "onnxscript"):
        require(package, "export to ONNX", EXTRA)
    if running:
        require("onnxruntime", "check the exported file (skip with verify=False)", EXTRA)


def write_onnx(program: ExportedProgram, told: dict[str, str], path: Path) -> None:
    """An ONNX file, with its weights beside it in `<path>.data` where they are too large for one file."""
    with known_noise():
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[told["vaekit.input"]],
            output_names=[told["vaekit.output"]],
            verbose=False,
            optimize=False,  # see `simplify`
        )
        assert written is not None  # it is None only where torch was given a file
        model = written.model
        simplify(model)
        name_axes(model)
        forget_where_it_was_made(model)
        model.metadata_props.update(told)
        model.doc_string = summary(told)
        weights = sum(
            each.const_value.nbytes for each in model.graph.initializers.values() if each.const_value is not None
        )
        written.save(path, external_data=weights > LARGEST_FILE)


@contextmanager
def known_noise() -> Iterator[None]:
    """Without two things that torch's exporter says of itself and that nobody who exports a VAE can do anything about:
    that torchvision's operators are not there, and that it calls a function of its own that is deprecated."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def simplify(model: Any) -> None:
    """Constants folded, and of a weight only what the program reads: the video networks read a third of theirs.

    The exporter's own way (`optimize=True`) also rewrites by patterns, and takes constants below 1e-8 for zero: the
    1e-15 that keeps DC-AE's attention from dividing by zero was gone, and the file gave NaN now and then.
    """
    optimizer = require("onnxscript.optimizer", "export to ONNX", EXTRA)
    optimizer.inline(model)
    optimizer.fold_constants(model, should_fold=lambda node: True if node.op_type == "Gather" else None)
    optimizer.remove_unused_nodes(model)


def name_axes(model: Any) -> None:
    """Call the free sizes what they are: "batch", "8*rows", "8*columns" for torch's "s23", "8*s7", "8*s16"."""
    (given,) = model.graph.inputs
    sizes = {i: str(size.value) for i, size in enumerate(given.shape) if not isinstance(size, int)}
    symbols = {re.search(r"[a-z]\w*", size)[0]: AXES[i] for i, size in sizes.items()}  # type: ignore[index]
    for value in [given, *(output for node in model.graph for output in node.outputs)]:
        for i, size in enumerate(value.shape or ()):
            if not isinstance(size, int) and size.value is not None:
                value.shape[i] = re.sub(r"[a-z]\w*", lambda found: symbols.get(found[0], found[0]), size.value)


def forget_where_it_was_made(model: Any) -> None:
    """Take out what the exporter notes of every operation: the lines of code behind it, with paths of this machine."""
    for node in model.graph:
        node.metadata_props.clear()
        for output in node.outputs:
            output.metadata_props.clear()


def summary(told: dict[str, str]) -> str:
    """What viewers show first."""
    half, given, returned, channels, factor, writer = (
        told[f"vaekit.{key}"] for key in ("half", "input", "output", "latent_channels", "factor", "written_by")
    )
    return (
        f"The {half} of a VAE, {given} -> {returned}, written by {writer}. Pixels are in [-1, 1]; latents are raw, "
        f"{channels} channels at 1/{factor} size. The normalization of a diffusion model's latents: "
        f"{told['vaekit.normalization']}."
    )


def open_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """An ONNX file as a function: onnxruntime, on the CPU."""
    runtime = require("onnxruntime", "run an ONNX file", EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda x: torch.from_numpy(session.run(None, {given.name: x.numpy()})[0])
