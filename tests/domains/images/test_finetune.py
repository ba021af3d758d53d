"""Fine-tunes of tiny VAEs on made images: what moves, what stays, and that a stop changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from family_examples import EXAMPLES
from refusals import lacks, refuses
from soft_images import write_soft
from torch import Tensor

from vaekit.checkpoints.finetuned_writer import base_model_at, same_bits
from vaekit.checkpoints.save import save
from vaekit.domains.images.finetune import DECODER_ONLY, NOTE, FinetuneOptions, Finetuning, prepare_finetuning
from vaekit.domains.recipes import recipe
from vaekit.errors import BadRecipe, RecipeChanged, VaekitError
from vaekit.families import assemble, family_of, family_with
from vaekit.families.wan.net import WanConfig
from vaekit.formats.open import open_tensors
from vaekit.identification.build import build
from vaekit.identification.identify import identify
from vaekit.identification.weights import weights_in
from vaekit.normalization import LatentNormalization
from vaekit.training.log import LogEvent
from vaekit.training.objectives import Pass
from vaekit.training.run import run_training

NORMALIZATION = LatentNormalization((0.1,), (0.5,))
SHORT = (
    "schedule.samples=12",
    "schedule.batch_size=2",
    "schedule.warmup_samples=2",
    "schedule.learning_rate=0.01",
    "images.size=32",
)

CODES = ("codes.decay=0.5", "objective.terms.commitment.weight=0.25")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three soft images in color, one that is too small, and one that is broken."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number, size in enumerate([(40, 48), (64, 36), (32, 32), (16, 16)]):
        write_soft(folder / f"{number}.png", size, rng)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def tuning(tmp_path: Path, images: Path, lpips_file: Path) -> Callable[..., Finetuning]:
    def prepared(
        name: str = "tiny",
        folder: str = "run",
        whole: bool = False,
        changes: tuple[str, ...] = (),
        dtype: torch.dtype = torch.float16,
        say: Callable[[str], None] = lambda _: None,
    ) -> Finetuning:
        path = tmp_path / f"{name}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            family = family_with(EXAMPLES[name])
            assert family is not None
            save(assemble(family, EXAMPLES[name], normalization=NORMALIZATION).to(dtype), path)
        parent = base_model_at(path, name, "zeros" if hasattr(EXAMPLES[name], "padding") else None)
        table = recipe("finetune", (*SHORT, *changes))
        options = FinetuneOptions(whole, lpips=lpips_file)
        return prepare_finetuning(table, parent, images, tmp_path / folder, 0, options, say)

    return prepared


def tensors_in(path: Path) -> dict[str, Tensor]:
    return {key: piece.tensor() for key, piece in weights_in(identify(path)).tensors.items()}


@pytest.mark.parametrize("name", ["kl", "tiny", "vq", "burgess"])
def test_the_encoder_stays_and_the_decoder_moves(tuning: Callable[..., Finetuning], name: str) -> None:
    made = tuning(name)
    run_training(made.run)
    before, after = tensors_in(made.parent.identified.path), tensors_in(made.run.folder)
    kept = tuple(f"{part}." for part in DECODER_ONLY)
    for key, tensor in before.items():
        if key.startswith(kept):
            assert same_bits(tensor, after[key]), key
    moved = [key for key in before if not same_bits(before[key], after[key])]
    assert moved and all(key.startswith("decoder.") for key in moved)
    assert identify(made.run.folder).normalization == NORMALIZATION, "diffusion models were made for this one"


def test_a_decoder_that_upscales_is_refused(tmp_path: Path, images: Path, lpips_file: Path) -> None:
    torch.manual_seed(0)
    config = WanConfig(3, 4, (8, 16), (16, 8), 1, 2, (), False, upscale=2)
    save(assemble(family_of("wan"), config, normalization=None), tmp_path / "up.safetensors", "original")
    parent = base_model_at(tmp_path / "up.safetensors", "up")
    with refuses(BadRecipe, "up", "2"):
        options = FinetuneOptions(False, lpips=lpips_file)
        prepare_finetuning(recipe("finetune", SHORT), parent, images, tmp_path / "run", 0, options)


def test_no_graph_is_kept_through_the_encoder(tuning: Callable[..., Finetuning]) -> None:
    from vaekit.training.loop import initial_train_state

    made = tuning("kl")
    assert made.run.begin is not None
    state = initial_train_state(made.run.begin(), made.run.schedule, made.run.frozen)
    state.to_training()
    assert not state.vae.encoder.training and state.vae.decoder.training  # type: ignore[union-attr]
    seen = Pass(state.vae, made.run.stream.batch(0, 2), 0, torch.Generator().manual_seed(0))
    assert not seen.posterior.mode.requires_grad and not seen.z.requires_grad
    assert seen.result.requires_grad


def test_master_weights_are_fp32_and_the_source_is_left_alone(tuning: Callable[..., Finetuning]) -> None:
    made = tuning("tiny", dtype=torch.bfloat16)
    content = made.parent.identified.path.read_bytes()
    assert made.run.begin is not None
    vae = made.run.begin()
    assert {tensor.dtype for tensor in vae.parameters()} == {torch.float32}
    with torch.no_grad():
        for tensor in vae.parameters():
            tensor.zero_()
    assert made.parent.identified.path.read_bytes() == content
    assert all(tensor.any() for name, tensor in build(made.parent.identified).named_parameters() if "weight" in name)


@pytest.mark.parametrize(("name", "encoder_too", "changes"), [("kl", False, ()), ("vq", True, CODES)])
def test_a_stop_changes_nothing(
    tuning: Callable[..., Finetuning], name: str, encoder_too: bool, changes: tuple[str, ...]
) -> None:
    from dataclasses import replace

    whole, cut = (tuning(name, folder, encoder_too, changes) for folder in ("whole", "cut"))
    run_training(whole.run)
    eager = replace(cut.run, save_seconds=0.0, log_every=1)

    def stop(news: LogEvent) -> None:
        if news.samples == 8:  # phase 2 has begun; the state after 6 samples is on the disk
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(eager, stop)
    said: list[str] = []
    run_training(cut.run, say=said.append)
    assert len(said) == 1 and not lacks(said[0], "6")
    names = ("vae.safetensors",)
    assert [(whole.run.folder / name).read_bytes() for name in names] == [
        (cut.run.folder / name).read_bytes() for name in names
    ]


def test_phases_are_shares_of_the_whole(tuning: Callable[..., Finetuning]) -> None:
    objective = tuning("tiny").run.objective
    at = {
        samples: {name: weight.at(samples) for name, weight in objective.weights.items() if name != "kl"}
        for samples in (0, 7, 8)  # of 12; 60 % are 7.2
    }
    assert at[0] == at[7] == {"l1": 1.0, "mse": 0.0, "lpips": 1.0}
    assert at[8] == {"l1": 0.0, "mse": 1.0, "lpips": 0.1}


def test_the_kl_counts_only_where_the_encoder_moves(tuning: Callable[..., Finetuning]) -> None:
    assert set(tuning("kl").run.objective.terms) == {"l1", "mse", "lpips"}
    assert set(tuning("kl", whole=True).run.objective.terms) == {"l1", "mse", "lpips", "kl"}
    assert set(tuning("tiny", whole=True).run.objective.terms) == {"l1", "mse", "lpips"}


def test_what_is_about_codes_counts_where_the_encoder_moves(tuning: Callable[..., Finetuning]) -> None:
    told = ("objective.terms.commitment.weight=0.25", "objective.terms.mine={term='kl', weight=1}")
    assert set(tuning("tiny", changes=told).run.objective.terms) == {"l1", "mse", "lpips"}
    assert set(tuning("tiny", whole=True, changes=told).run.objective.terms) == {"l1", "mse", "lpips", "commitment"}


def test_codes_go_on_from_what_they_are(tuning: Callable[..., Finetuning]) -> None:
    said: list[str] = []
    made = tuning("vq", whole=True, changes=CODES, say=said.append)
    assert made.run.recipe.table["codes"] == {"first": "random", "decay": 0.5}, "no new codes in place of the parent's"
    assert not any("codebook" in each for each in said)
    run_training(made.run)
    key = "to_posterior.codebook"
    assert not same_bits(tensors_in(made.parent.identified.path)[key], tensors_in(made.run.folder)[key])


def test_codes_that_may_part_from_the_encoder_are_told(tuning: Callable[..., Finetuning]) -> None:
    said: list[str] = []
    tuning("vq", whole=True, say=said.append)
    told = [each for each in said if "codebook" in each]
    assert len(told) == 1 and "objective.terms.commitment.weight=0.25 --set codes.by=average" in told[0]
    said.clear()
    for name, whole in (("vq", False), ("kl", True)):
        tuning(name, whole=whole, say=said.append)
    assert not any("codebook" in each for each in said)


@pytest.mark.parametrize(
    ("name", "whole", "changes", "facts"),
    [
        ("vq", False, ("codes.by=average",), ["codes"]),
        ("kl", True, ("codes.by=average",), ["codes"]),
        ("vq", True, ("codes.by=magic",), ["magic"]),
        ("vq", True, ("codes=3",), ["codes"]),
    ],
)
def test_codes_that_cannot_be_learned_are_refused(
    tuning: Callable[..., Finetuning],
    tmp_path: Path,
    name: str,
    whole: bool,
    changes: tuple[str, ...],
    facts: list[str],
) -> None:
    with refuses(BadRecipe, *facts):
        tuning(name, whole=whole, changes=changes)
    assert not (tmp_path / "run").exists()


def test_the_whole_vae_moves(tuning: Callable[..., Finetuning]) -> None:
    made = tuning("kl", whole=True)
    run_training(made.run)
    before, after = tensors_in(made.parent.identified.path), tensors_in(made.run.folder)
    assert any(not same_bits(before[key], after[key]) for key in before if key.startswith("encoder."))


def test_the_file_tells_where_it_comes_from(tuning: Callable[..., Finetuning]) -> None:
    made = tuning("tiny")
    vae = run_training(made.run)
    [file] = made.write(vae, {"held_out_images": 1, "before": {"psnr": 20.0}, "after": {"psnr": 21.0}})
    told = json.loads(open_tensors(file).metadata[NOTE])
    assert told["parent"] == {"name": "tiny", "fingerprint": made.parent.fingerprint, "family": "tiny"}
    assert (told["samples"], told["seed"], told["trained"]) == (12, 0, "decoder")
    assert told["data"]["items"] == 5 and told["data"]["held_out"] == 1
    assert told["metrics"]["after"] == {"psnr": 21.0}


def test_the_file_tells_what_makes_the_encoder_another(tuning: Callable[..., Finetuning]) -> None:
    from dataclasses import replace

    made = tuning("kl", dtype=torch.float32)
    assert "changes" not in made.lineage()
    rounded = replace(made, options=replace(made.options, dtype=torch.bfloat16))
    assert rounded.lineage()["changes"] == {"dtype": {"before": "float32", "after": "bfloat16"}}


def test_another_parent_is_another_run(tuning: Callable[..., Finetuning], tmp_path: Path) -> None:
    made = tuning("tiny")
    run_training(made.run)
    assert made.run.begin is not None
    other = made.run.begin().requires_grad_(False).apply(shifted)
    (tmp_path / "tiny.safetensors").unlink()
    save(other, tmp_path / "tiny.safetensors")
    with refuses(RecipeChanged, "fingerprint"):
        run_training(tuning("tiny").run)


def shifted(module: torch.nn.Module) -> None:
    for tensor in module.parameters(recurse=False):
        tensor.add_(0.1)


@pytest.mark.parametrize(
    ("changes", "kind", "facts"),
    [
        (("images.size=30",), BadRecipe, ["30", "4"]),
        (("images.crop=left",), BadRecipe, ["crop"]),
        (("objective.terms.l1.weight=[['half', 1]]",), BadRecipe, ["half"]),
        (("vae.family=tiny",), BadRecipe, []),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    tuning: Callable[..., Finetuning],
    tmp_path: Path,
    changes: tuple[str, ...],
    kind: type[VaekitError],
    facts: list[str],
) -> None:
    with refuses(kind, *facts):
        tuning("tiny", changes=changes)
    assert not (tmp_path / "run").exists()
