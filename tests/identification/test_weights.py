"""The tensors of a VAE under native keys, on their way into a file."""

from dataclasses import replace
from pathlib import Path

import torch
from refusals import refuses

from vaekit.checkpoints.save import save
from vaekit.errors import WrongTensors
from vaekit.families import Layout, family_of, layout_of
from vaekit.families.normalization import COUNT, MEAN, VARIANCE
from vaekit.formats.safetensors_writer import Piece
from vaekit.formats.tensor_file import Span
from vaekit.identification.identify import identify
from vaekit.identification.weights import (
    in_dtype,
    names_in,
    native_shapes,
    piece_in_memory,
    shape_in,
    weights_in,
    weights_of,
)
from vaekit.vae import VAE, Origin

KL = family_of("kl")
QUERY = "encoder.mid.attn_1.q.weight"


def layout(name: str) -> Layout:
    found = layout_of(name, "kl")
    assert found is not None
    return found


def test_a_vae_in_memory_has_all_its_tensors(kl_vae: VAE) -> None:
    stored = weights_of(kl_vae, KL, kl_vae.config)
    assert (stored.halves, stored.normalization, stored.padding_known) == (
        ("encoder", "decoder"),
        kl_vae.normalization,
        True,
    )
    assert {key: piece.shape for key, piece in stored.tensors.items()} == {
        key: tensor.shape for key, tensor in kl_vae.state_dict().items()
    }
    assert all(torch.equal(stored.tensors[key].tensor(), tensor) for key, tensor in kl_vae.state_dict().items())
    kl_vae.encoder = None
    assert weights_of(kl_vae, KL, kl_vae.config).halves == ("decoder",)


def test_a_normalization_in_tensors_is_among_them(flux2_vae: VAE) -> None:
    stored = weights_of(flux2_vae, KL, flux2_vae.config)
    assert stored.tensors.keys() - flux2_vae.state_dict().keys() == {MEAN, VARIANCE, COUNT}


def test_the_domain_of_a_vae_is_kept(kl_vae: VAE) -> None:
    assert weights_of(kl_vae, KL, kl_vae.config).notes == {}
    kl_vae.origin = Origin("x", lambda _: "", "tables", {"columns": ["a"]})
    assert weights_of(kl_vae, KL, kl_vae.config).notes == {
        "vaekit.domain": "tables",
        "vaekit.schema": '{"columns": ["a"]}',
    }


def test_pieces_have_the_names_and_shapes_of_a_layout(kl_vae: VAE) -> None:
    pieces = {piece.name: piece for piece in weights_of(kl_vae, KL, kl_vae.config).pieces(layout("diffusers"))}
    assert pieces["encoder.mid_block.attentions.0.to_q.weight"].shape == (64, 64)
    assert pieces["quant_conv.weight"].shape == (8, 8, 1, 1)
    assert len(pieces) == len(kl_vae.state_dict())


def test_matrices_are_those_of_the_layout_alone() -> None:
    assert shape_in(layout("diffusers"), QUERY, (64, 64, 1, 1)) == (64, 64)
    assert shape_in(layout("ldm"), QUERY, (64, 64, 1, 1)) == (64, 64, 1, 1)
    assert shape_in(layout("diffusers"), QUERY.replace("weight", "bias"), (64,)) == (64,)


def test_a_tensor_without_a_name_is_refused() -> None:
    assert names_in(layout("ldm"), ["encoder.quant_conv.bias"]) == {"encoder.quant_conv.bias": "quant_conv.bias"}
    with refuses(WrongTensors, "ldm", "2", "to_prior.x", '"native"'):
        names_in(layout("ldm"), ["encoder.quant_conv.bias", "to_prior.x", "to_prior.y"])


def test_another_dtype_is_converted_when_it_is_read() -> None:
    piece = piece_in_memory("x", torch.tensor([1.0, 2.5]))
    assert in_dtype(piece, None) is piece and in_dtype(piece, torch.float32) is piece
    half = in_dtype(piece, torch.float16)
    assert (half.dtype, half.stored, half.tensor().dtype) == (torch.float16, torch.float32, torch.float16)


def test_weights_in_a_file_are_spans_of_it(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors", "diffusers")
    identified = identify(tmp_path / "x.safetensors")
    stored = weights_in(identified)
    assert list(stored.tensors) == list(native_shapes(identified))
    query: Piece = stored.tensors[QUERY]
    assert isinstance(query.source, Span) and query.shape == (64, 64, 1, 1)
    assert torch.equal(query.tensor(), kl_vae.state_dict()[QUERY])
    assert stored.padding_known
    assert not weights_in(replace(identified, padding_source="")).padding_known


def test_statistics_keep_their_dtype(flux2_vae: VAE, tmp_path: Path) -> None:
    save(flux2_vae, tmp_path / "x.safetensors")
    identified = identify(tmp_path / "x.safetensors")
    stored = weights_in(identified, torch.bfloat16)
    assert stored.tensors[QUERY].dtype == torch.bfloat16
    assert stored.tensors[MEAN].dtype == stored.tensors[VARIANCE].dtype == torch.float32
    # A file without them gets them from its metadata.
    part = replace(identified.parts[0], statistics={})
    again = weights_in(replace(identified, parts=(part,)), torch.bfloat16)
    assert torch.equal(again.tensors[MEAN].tensor(), stored.tensors[MEAN].tensor())
