"""Through a file in any layout, format and dtype and back: every tensor of every family, to the last bit."""

import dataclasses
import itertools
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from family_examples import EXAMPLES, daily

from vaekit.checkpoints.bake import bake
from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.extract import extract
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import LAYOUT_NAMES, save
from vaekit.errors import WrongTensors
from vaekit.families import FAMILIES, LAYOUTS, Layout, assemble, family_of, layout_of
from vaekit.formats.open import open_tensors
from vaekit.formats.safetensors_writer import Piece, header, in_order, write_safetensors
from vaekit.identification.identify import identify
from vaekit.identification.resolve import resolve
from vaekit.identification.weights import names_in, weights_in, weights_of
from vaekit.vae import VAE

WHOLE = [
    layout
    for layout in LAYOUTS
    if not layout.half and not layout.name.startswith("bare-") and layout.fits(EXAMPLES[layout.family])
]
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def example(family: str, dtype: torch.dtype = torch.float32) -> VAE:
    """A VAE with random weights, among them what comparisons treat in odd ways: infinities, minus zero, denormals."""
    vae = assemble(family_of(family), EXAMPLES[family]).eval().to(dtype)
    generator = torch.Generator().manual_seed(0)
    odd = torch.tensor([float("inf"), -0.0, torch.finfo(dtype).smallest_normal / 4], dtype=dtype)
    with torch.no_grad():
        for tensor in vae.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
                tensor.view(-1)[: min(3, tensor.numel())] = odd[: tensor.numel()]
    return vae


def bits(vae: VAE) -> dict[str, tuple[torch.dtype, torch.Size, bytes]]:
    return {
        key: (tensor.dtype, tensor.shape, tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        for key, tensor in vae.state_dict().items()
    }


def test_every_family_has_an_example() -> None:
    assert EXAMPLES.keys() == {family.name for family in FAMILIES}


@pytest.mark.parametrize(
    "layout", daily(WHOLE, attrgetter("family")), ids=[f"{layout.family}-{layout.name}" for layout in WHOLE]
)
@pytest.mark.parametrize(
    "dtype",
    [dtype if dtype is torch.float16 else pytest.param(dtype, marks=pytest.mark.nightly) for dtype in DTYPES],
    ids=str,
)
def test_what_is_translated_and_written_is_read_and_translated_back(
    layout: Layout, dtype: torch.dtype, tmp_path: Path
) -> None:
    vae = example(layout.family, dtype)
    pieces = weights_of(vae, family_of(layout.family), EXAMPLES[layout.family]).pieces(layout)
    around = [Piece(f"x.{i}", (3,), torch.float32, lambda: torch.zeros(3)) for i in range(2)]
    for prefix, beside in (("", []), ("first_stage_model.", around)):
        if prefix and not layout.any_prefix:
            continue
        named = [dataclasses.replace(piece, name=prefix + piece.name) for piece in pieces]
        ordered = in_order([*named, *beside])
        write_safetensors(tmp_path / "x", header(ordered, {}), ordered, tmp_path / "x")
        assert bits(load(tmp_path / "x")) == bits(vae)
        found = identify(tmp_path / "x").layout
        twin = layout_of(found, layout.family, EXAMPLES[layout.family])
        assert found == layout.name or (twin and names_in(twin, vae.state_dict()) == names_in(layout, vae.state_dict()))


@pytest.mark.parametrize("family", daily(EXAMPLES))
def test_a_walk_through_all_layouts_and_formats_loses_nothing(family: str, tmp_path: Path) -> None:
    vae = example(family)
    names = [name for name in ("native", "ldm", "original", "diffusers") if layout_of(name, family, EXAMPLES[family])]
    start = tmp_path / "start.safetensors"
    write_native(vae, family, start)
    here = start
    for number, (name, ending) in enumerate(itertools.product(names, ("safetensors", "pt"))):
        there = tmp_path / f"{number}.{ending}"
        convert(here, there, name)
        here = there
    assert bits(load(here)) == bits(vae)
    convert(here, tmp_path / "end.safetensors", "native")
    assert weights(tmp_path / "end.safetensors") == weights(start)


@pytest.mark.parametrize("family", daily(sorted({layout.family for layout in WHOLE if layout.any_prefix})))
def test_extracted_and_baked_back_a_checkpoint_is_the_same_file(family: str, tmp_path: Path) -> None:
    vae = example(family, torch.float16)
    layout = next(layout for layout in WHOLE if layout.family == family and layout.any_prefix)
    pieces = weights_of(vae, family_of(family), EXAMPLES[family]).pieces(layout)
    inside = [dataclasses.replace(piece, name=f"vae.{piece.name}") for piece in pieces]
    ordered = in_order([*inside, Piece("model.x", (7,), torch.float64, lambda: torch.arange(7.0).double())])
    whole = tmp_path / "whole.safetensors"
    write_safetensors(whole, header(ordered, {"b": "1", "a": "2"}), ordered, whole)
    extract(whole, tmp_path / "vae.safetensors")
    assert bits(load(tmp_path / "vae.safetensors")) == bits(vae)
    bake(whole, tmp_path / "vae.safetensors", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == whole.read_bytes()


def write_native(vae: VAE, family: str, path: Path) -> None:
    layout = next(layout for layout in family_of(family).layouts if layout.name == "native")
    pieces = in_order(weights_of(vae, family_of(family), EXAMPLES[family]).pieces(layout))
    write_safetensors(path, header(pieces, {}), pieces, path)


def weights(path: Path) -> dict[str, bytes]:
    """The bytes of all weights by their native keys, read as bytes."""
    pieces = weights_in(identify(path)).tensors
    content = path.read_bytes()
    spans = {key: open_tensors(path).span(piece.name) for key, piece in pieces.items()}
    return {key: content[span.start : span.start + span.length] for key, span in spans.items() if span}


@pytest.mark.parametrize("family", EXAMPLES)
def test_an_unknown_normalization_stays_unknown_in_every_layout(family: str, tmp_path: Path) -> None:
    config = EXAMPLES[family]
    with torch.device("cpu"):
        vae = assemble(family_of(family), config).eval()
    for layout in {layout.name for layout in WHOLE if layout.family == family} & set(LAYOUT_NAMES):
        try:
            save(vae, tmp_path / layout if layout == "diffusers" else tmp_path / f"{layout}.safetensors", layout)
        except WrongTensors:  # the class of diffusers has no setting for this example
            continue
    for written in tmp_path.iterdir():
        assert resolve(identify(written), measure=False).normalization is None, written.name
