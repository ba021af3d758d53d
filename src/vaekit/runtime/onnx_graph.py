"""Write ONNX files, and run them with onnxruntime.

torch has two exporters. The TorchScript one (`dynamo=False`) is deprecated, and turns sizes that a network computes in
Python into constants. The one used here translates a torch.export program with symbolic sizes, which supports all nets
of vaekit with dynamic sizes. It needs onnxscript.
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

from vaekit.errors import counted
from vaekit.optional import require

EXTRA = "onnx"
AXES = ("batch", "channels", "rows", "columns")
LARGEST_FILE = 2**31 - 2**24
"""The maximum size of weights inside the file, in bytes: a protobuf message is limited to 2 GiB."""


def require_onnx(running: bool) -> None:
    """Check that the required packages are installed.

    Args:
        running: whether files are run, too.

    Raises:
        MissingPackage: a package is not installed.
    """
    for package in ("onnx", "onnxscript"):
        require(package, "export to ONNX", EXTRA)
    if running:
        require("onnxruntime", "check the exported file (skip with verify=False)", EXTRA)


def write_onnx(program: ExportedProgram, metadata: dict[str, str], path: Path) -> None:
    """Write an ONNX file; weights that are too large for one file are stored in `<path>.data`."""
    with quiet_exporter():
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[metadata["vaekit.input"]],
            output_names=[metadata["vaekit.output"]],
            verbose=False,
            optimize=False,  # see `simplify`
        )
        assert written is not None  # None only if a file is passed
        model = written.model
        simplify(model)
        name_axes(model)
        remove_source_locations(model)
        model.metadata_props.update(metadata)
        model.doc_string = summary(metadata)
        weights = sum(
            each.const_value.nbytes for each in model.graph.initializers.values() if each.const_value is not None
        )
        written.save(path, external_data=weights > LARGEST_FILE)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Suppress two messages of torch's exporter that users cannot act on: missing operators of torchvision, and its
    call of a deprecated function of its own."""
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
    """Fold constants, and reduce weights to the parts that are used: the video networks use a third of theirs.

    The exporter's own option (`optimize=True`) also rewrites patterns and treats constants below 1e-8 as zero: it
    removed the 1e-15 that keeps DC-AE's attention from dividing by zero, and the file sometimes returned NaN.
    """
    optimizer = require("onnxscript.optimizer", "export to ONNX", EXTRA)
    optimizer.inline(model)
    optimizer.fold_constants(model, should_fold=lambda node: True if node.op_type == "Gather" else None)
    optimizer.remove_unused_nodes(model)


def name_axes(model: Any) -> None:
    """Give dynamic sizes readable names: "batch", "8*rows", "8*columns" for torch's "s23", "8*s7", "8*s16"."""
    (graph_input,) = model.graph.inputs
    sizes = {i: str(size.value) for i, size in enumerate(graph_input.shape) if not isinstance(size, int)}
    symbols = {re.search(r"[a-z]\w*", size)[0]: AXES[i] for i, size in sizes.items()}  # type: ignore[index]
    for value in [graph_input, *(output for node in model.graph for output in node.outputs)]:
        for i, size in enumerate(value.shape or ()):
            if not isinstance(size, int) and size.value is not None:
                value.shape[i] = re.sub(r"[a-z]\w*", lambda match: symbols.get(match[0], match[0]), size.value)


def remove_source_locations(model: Any) -> None:
    """Remove the source lines of every operation, which contain local paths."""
    for node in model.graph:
        node.metadata_props.clear()
        for output in node.outputs:
            output.metadata_props.clear()


def summary(metadata: dict[str, str]) -> str:
    """The description that viewers show."""
    half, inputs, outputs, channels, factor, writer = (
        metadata[f"vaekit.{key}"] for key in ("half", "input", "output", "latent_channels", "factor", "written_by")
    )
    return (
        f"The {half} of a VAE, {inputs} -> {outputs}, written by {writer}. Pixels are in [-1, 1]; latents are raw, "
        f"{counted(int(channels), 'channel')} at 1/{factor} size. The normalization of a diffusion model's latents: "
        f"{metadata['vaekit.normalization']}."
    )


def open_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """Open an ONNX file as a function, with onnxruntime on the CPU."""
    runtime = require("onnxruntime", "run an ONNX file", EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (session_input,) = session.get_inputs()
    return lambda x: torch.from_numpy(session.run(None, {session_input.name: x.numpy()})[0])
