"""ONNX graphs are simplified without losing small constants, named, and free of traces of the machine."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript.ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from refusals import lacks, refuses
from torch import nn

from vaekit.errors import MissingPackage
from vaekit.runtime import onnx_graph
from vaekit.runtime.onnx_graph import (
    name_axes,
    open_onnx,
    quiet_exporter,
    remove_source_locations,
    require_onnx,
    simplify,
    summary,
    write_onnx,
)

FACTS = {
    "vaekit.half": "decoder",
    "vaekit.input": "latents",
    "vaekit.output": "pixels",
    "vaekit.latent_channels": "4",
    "vaekit.factor": "8",
    "vaekit.written_by": "vaekit 9.9",
    "vaekit.normalization": '{"scale": 0.5}',
}


def model_of(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shapes: dict[str, list[Any]] | None = None
) -> onnx.ModelProto:
    """A model with one input "x" and one output "y", of these shapes."""
    shapes = {"x": ["s0", 4, "s1", "s2"], "y": ["s0", 4, "s1", "s2"]} | (shapes or {})
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    tensors = [numpy_helper.from_array(weight, name) for name, weight in weights.items()]
    inner = [ends[name] for name in shapes if name not in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", [ends["x"]], [ends["y"]], tensors, value_info=inner)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def opened(model: onnx.ModelProto) -> Any:
    """The model as the exporter has it: its shapes may be changed."""
    made = ir.serde.deserialize_model(model)
    for value in (*made.graph.inputs, *(output for node in made.graph for output in node.outputs)):
        if value.shape is not None:
            value.shape = value.shape.copy(frozen=False)
    return made


def values(run: Any, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x, run(x)


# Simplification


def test_weights_that_nothing_reads_are_left_out() -> None:
    nodes = [helper.make_node("Add", ["x", "used"], ["y"]), helper.make_node("Mul", ["x", "unused"], ["z"])]
    model = opened(model_of(nodes, {"used": np.ones(1, np.float32), "unused": np.ones(1000, np.float32)}))
    simplify(model)
    assert [node.op_type for node in model.graph] == ["Add"]
    assert list(model.graph.initializers) == ["used"]


def test_a_constant_that_keeps_from_dividing_by_zero_is_kept(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Add", ["zero", "tiny"], ["divisor"]),
        helper.make_node("Div", ["zero", "divisor"], ["y"]),
    ]
    model = opened(model_of(nodes, {"tiny": np.full(1, 1e-15, np.float32)}))
    simplify(model)
    ir.save(model, tmp_path / "model.onnx")
    _, made = values(open_onnx(tmp_path / "model.onnx"), 1, 4, 2, 2)
    assert bool((made == 0).all())


def test_the_part_of_a_weight_that_is_read_replaces_it() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "place"], ["row"], axis=0),
        helper.make_node("Add", ["x", "row"], ["y"]),
    ]
    table = np.arange(12, dtype=np.float32).reshape(3, 4, 1, 1)
    model = opened(model_of(nodes, {"table": table, "place": np.array(2)}))
    simplify(model)
    assert [node.op_type for node in model.graph] == ["Add"]
    (kept,) = model.graph.initializers.values()
    assert kept.const_value is not None
    assert kept.const_value.numpy().flatten().tolist() == [8.0, 9.0, 10.0, 11.0]


# Names


def test_free_sizes_are_named_for_what_they_are() -> None:
    nodes = [helper.make_node("Add", ["x", "one"], ["inner"]), helper.make_node("Relu", ["inner"], ["y"])]
    shapes = {
        "x": ["s77", 4, "s16", "s7"],
        "inner": ["s77", 4, "8*s16", "8*s7 + 1"],
        "y": ["s77", 3, "s16*s7", "other"],
    }
    model = opened(model_of(nodes, {"one": np.ones(1, np.float32)}, shapes))
    name_axes(model)
    found = {
        value.name: [str(size.value) if isinstance(size, ir.SymbolicDim) else size for size in value.shape or ()]
        for value in (*model.graph.inputs, *(output for node in model.graph for output in node.outputs))
    }
    assert found["x"] == ["batch", 4, "rows", "columns"]
    assert found["inner"] == ["batch", 4, "8*rows", "8*columns + 1"]
    assert found["y"] == ["batch", 3, "rows*columns", "other"]


def test_sizes_of_the_input_that_are_multiples_name_the_symbol_in_them() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    shapes = {"x": ["s0", 3, "8*s1", "8*s2"], "y": ["s0", 3, "s1", "s2"]}
    model = opened(model_of(nodes, {}, shapes))
    name_axes(model)
    (x,), (y,) = model.graph.inputs, model.graph.outputs
    assert [str(size.value) for size in x.shape if not isinstance(size, int)] == ["batch", "8*rows", "8*columns"]
    assert [str(size.value) for size in y.shape if not isinstance(size, int)] == ["batch", "rows", "columns"]


def test_fixed_sizes_stay_numbers() -> None:
    shapes = {"x": ["s0", 1, 32, 32], "y": ["s0", 1, 32, 32]}
    model = opened(model_of([helper.make_node("Relu", ["x"], ["y"])], {}, shapes))
    name_axes(model)
    (y,) = model.graph.outputs
    assert [size if isinstance(size, int) else size.value for size in y.shape] == ["batch", 1, 32, 32]


def test_what_the_exporter_noted_of_the_machine_is_gone() -> None:
    model = opened(model_of([helper.make_node("Relu", ["x"], ["y"])], {}))
    (node,) = model.graph
    node.metadata_props["pkg.torch.onnx.stack_trace"] = "/secret/net.py"
    node.outputs[0].metadata_props["source"] = "/secret"
    remove_source_locations(model)
    assert not node.metadata_props and not node.outputs[0].metadata_props


def test_the_summary_names_half_inputs_and_writer() -> None:
    assert not lacks(
        summary(FACTS), "decoder", "latents", "pixels", "vaekit 9.9", "[-1, 1]", "4", "1/8", '{"scale": 0.5}'
    )


# Files


def test_a_file_is_a_function_of_any_size(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Mul", ["x", "two"], ["y"])], {"two": np.full(1, 2, np.float32)})
    onnx.save(model, tmp_path / "model.onnx")
    run = open_onnx(tmp_path / "model.onnx")
    for shape in ((1, 4, 2, 3), (3, 4, 1, 1)):
        x, made = values(run, *shape)
        assert torch.equal(made, x * 2)


def test_a_written_file_gives_what_the_program_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = {0: torch.export.Dim("b", max=64), 2: torch.export.Dim("h", max=64), 3: torch.export.Dim("w", max=64)}
    x = torch.zeros(2, 4, 5, 6)
    network = nn.Conv2d(4, 3, 3, padding=1).eval()
    program = torch.export.export(network, (x,), dynamic_shapes=(sizes,))
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", 443)  # of 444 bytes of weights
    path = tmp_path / "decoder.onnx"
    write_onnx(program, FACTS, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["decoder.onnx", "decoder.onnx.data"]
    model = onnx.load(path)
    assert {entry.key: entry.value for entry in model.metadata_props} == FACTS
    assert model.doc_string == summary(FACTS)
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == ("latents", "pixels")
    names = [size.dim_param or size.dim_value for size in made.type.tensor_type.shape.dim]
    assert names == ["batch", 3, "rows", "columns"]
    x, got = values(open_onnx(path), 1, 4, 7, 3)
    with torch.no_grad():
        torch.testing.assert_close(got, network(x), atol=1e-5, rtol=1e-5)


# Packages and noise


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_refused_before_any_work(
    package: str, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_onnx(running)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "onnxruntime" and not running:
        require_onnx(running)
        return
    with refuses(MissingPackage, package, "pip install 'vaekit[onnx]'"):
        require_onnx(running)


EXPORTER = "torch.onnx._internal.exporter._registration"


def test_known_warnings_are_suppressed_and_others_are_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, EXPORTER)
    logger = logging.getLogger(EXPORTER)
    with quiet_exporter():
        assert not logger.isEnabledFor(logging.WARNING) and logger.isEnabledFor(logging.ERROR)
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use ...", FutureWarning, stacklevel=1)
        with pytest.warns(FutureWarning, match="other"):
            warnings.warn("other", FutureWarning, stacklevel=1)
    assert logger.level == logging.INFO


def test_log_level_is_restored_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, EXPORTER)
    with pytest.raises(ZeroDivisionError), quiet_exporter():
        raise ZeroDivisionError
    assert logging.getLogger(EXPORTER).level == logging.INFO
