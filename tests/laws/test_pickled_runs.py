"""Runs are picklable: a run that was sent to another process trains to the same weights, bit for bit."""

import pickle
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from family_examples import EXAMPLES
from slow_cases import nightly
from small_audio import save_tone
from small_music import TUNES, random_piece
from soft_images import write_soft
from torch import Tensor

from vaekit.checkpoints.finetuned_writer import base_model_at
from vaekit.checkpoints.save import save
from vaekit.datasets.dataset import Dataset
from vaekit.datasets.open import open_dataset
from vaekit.datasets.skip_log import SkipLog
from vaekit.diffusion.recipe import is_diffusion
from vaekit.domains.images.finetune import FinetuneOptions, prepare_finetuning
from vaekit.domains.images.records import IMAGE_RECORDS
from vaekit.domains.music.midi_files import write_midi
from vaekit.domains.recipes import names, recipe
from vaekit.errors import NoTrainingData, WrongTensors
from vaekit.families import assemble, family_with
from vaekit.normalization import LatentNormalization
from vaekit.tasks.train import PreparedRun, prepare_run
from vaekit.training.processes import ProcessGroup
from vaekit.training.run import Run, initial_state, train_until

STEPS = 2
"""An adaptive adversarial weight is 0 in the first step."""
SHORT = (
    f"schedule.samples={4 * STEPS}",
    "schedule.batch_size=4",
    "schedule.warmup_samples=0",
    "schedule.averages=[0.9]",
)
SMALL_KL = (
    *("data.size=32", "vae.encoder_widths=[32, 32, 32, 32]", "vae.decoder_widths=[32, 32, 32, 32]"),
    "objective.terms.lpips.network=alex",
)
SMALL_MUSIC = ("vae.net.width=16", "vae.net.embedding=8", "vae.net.decoder_width=8")
OVERRIDES: dict[str, tuple[str, ...]] = {
    "builtin": ("data.size=32", "data.resize=[32, 64]"),
    "kl-f8": (*SMALL_KL, "schedule.micro_batch=2"),
    "kl-f8-gan": (
        *(*SMALL_KL, "schedule.micro_batch=2", "adversarial.learn_from=0", "adversarial.pull_from=0"),
        *("adversarial.ramp=0", "adversarial.discriminator.layers=1", "adversarial.discriminator.width=8"),
        *("adversarial.discriminator.groups=4", "adversarial.guard.every=4", "adversarial.guard.items=2"),
    ),
    "mnist-iwae": ("objective.terms.iwae.k=3",),
    "mnist-vamp": ("vae.prior.components=5",),
    "mnist-beta-tcvae": (),
    "text": ("vae.net.width=16", "vae.net.embedding=8"),
    "molecules": ("vae.net.width=16", "vae.net.embedding=8"),
    **dict.fromkeys(("music", "music-16", "music-drums", "music-jsb", "music-sample"), SMALL_MUSIC),
    "audio-small": ("vae.net.widths=[8, 8, 8]",),
}


@pytest.fixture(autouse=True)
def perceptual(monkeypatch: pytest.MonkeyPatch, lpips_file: Path) -> None:
    monkeypatch.setenv("VAEKIT_PERCEPTUAL", str(lpips_file))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small data set of each domain."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(20):
        write_soft(folder / "images" / f"{number}.png", (48, 40), rng)
    rows = [f"{a:.3f},{'yes' if b else 'no'}" for a, b in zip(rng.normal(size=60), rng.integers(0, 2, 60), strict=True)]
    (folder / "table.csv").write_text("\n".join(["size,ripe", *rows]), "utf-8")
    lines = ["".join(rng.choice(list(string.ascii_lowercase), 12)) for _ in range(60)]
    (folder / "lines.txt").write_text("\n".join(lines), "utf-8")
    (folder / "chains.smi").write_text("\n".join("C" * length + end for length in range(1, 21) for end in "ONS"))
    (folder / "music").mkdir()
    (folder / "music" / "tunes.abc").write_text(TUNES)
    (folder / "music" / "song.mid").write_bytes(write_midi(random_piece(0)))
    for number in range(20):
        save_tone(folder / "sounds" / f"{number}.wav", 900 + number, frequency=300.0 + 20 * number)
    others = {
        "audio": "sounds",
        "tables": "table.csv",
        "text": "lines.txt",
        "molecules": "chains.smi",
        "music": "music",
    }
    return {"images": folder / "images", **{domain: folder / name for domain, name in others.items()}}


@pytest.fixture
def tune(tmp_path: Path, data: dict[str, Path], lpips_file: Path) -> Callable[[], Run]:
    """A fine-tuning run of a small VAE, whose file is base.safetensors."""

    def prepared() -> Run:
        path = tmp_path / "base.safetensors"
        torch.manual_seed(0)
        family = family_with(EXAMPLES["tiny"])
        assert family is not None
        save(assemble(family, EXAMPLES["tiny"], normalization=LatentNormalization((0.1,), (0.5,))), path)
        chosen = recipe("finetune", (*SHORT, "data.size=32", "schedule.gradient_clip=1.0"))
        options = FinetuneOptions(lpips=lpips_file)
        parent = base_model_at(path, "base")
        return prepare_finetuning(chosen, parent, data["images"], tmp_path / "run", 0, options).run

    return prepared


def trained(run: Run) -> dict[str, Tensor]:
    """All tensors of the state after the run's steps."""
    state = initial_state(run)
    train_until(run, state, run.schedule, lambda _: None)
    assert state.samples == 4 * STEPS and state.passed_over == 0
    return {name: tensor.clone() for name, tensor in state.tensors().items()}


def assert_same_training(run: Run) -> Run:
    """Train a run and its copy, and compare all bits; returns another copy.

    The copies come first: training changes the adversary, which is part of a run.
    """
    pickled = pickle.dumps(run)
    expected, found = trained(run), trained(pickle.loads(pickled))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    copy: Run = pickle.loads(pickled)
    return copy


OFTEN = ("mnist-vamp", "vq", "kl-f8-gan", "tables")
"""Recipes that are tried in every run: priors, codes, an adversary and columns."""
OTHERS = [name for name in names() if name not in ("finetune", *OFTEN) and not is_diffusion(recipe(name))]


@pytest.mark.parametrize("name", [*OFTEN, *nightly(*OTHERS)])
def test_a_pickled_run_of_a_recipe_trains_the_same_weights(name: str, data: dict[str, Path], tmp_path: Path) -> None:
    chosen = recipe(name, (*SHORT, *OVERRIDES.get(name, ())))
    path = data[str(chosen.data["domain"])]
    prepared = prepare_run(chosen, path, tmp_path / "run", 0, torch.device("cpu"), ProcessGroup())
    copy = assert_same_training(prepared.run)
    assert copy.identity() == prepared.run.identity()
    again: PreparedRun = pickle.loads(pickle.dumps(prepared))
    assert again.domain.name == prepared.domain.name
    assert again.schema.as_plain() == prepared.schema.as_plain()


def test_the_parts_of_an_adversarial_run_stay_connected(data: dict[str, Path], tmp_path: Path) -> None:
    chosen = recipe("kl-f8-gan", (*SHORT, *OVERRIDES["kl-f8-gan"]))
    run = prepare_run(chosen, data["images"], tmp_path, 0, torch.device("cpu"), ProcessGroup()).run
    copy: Run = pickle.loads(pickle.dumps(run))
    assert copy.guard is not None and copy.guard is copy.extras["guard"]
    assert copy.adversary is copy.extras["adversary"] is copy.guard.adversary
    parameters = copy.guard.adversary.optimizer.param_groups[0]["params"]
    assert all(a is b for a, b in zip(parameters, copy.guard.adversary.net.parameters(), strict=True))


def test_a_pickled_fine_tuning_run_trains_and_writes_the_same_weights(tune: Callable[[], Run], tmp_path: Path) -> None:
    run = tune()
    copy = assert_same_training(run)
    vae = initial_state(run).result
    written = []
    for each in (run, copy):
        assert each.write is not None
        each.write(vae)
        written.append((tmp_path / "run" / "vae.safetensors").read_bytes())
    assert written[0] == written[1]


def test_a_base_model_is_pickled_as_its_path(tune: Callable[[], Run], tmp_path: Path) -> None:
    run = tune()
    pickled = pickle.dumps((run.begin, run.write))
    assert len(pickled) < 10_000 < (tmp_path / "base.safetensors").stat().st_size
    family = family_with(EXAMPLES["tiny"])
    assert family is not None
    torch.manual_seed(1)
    save(assemble(family, EXAMPLES["tiny"]), tmp_path / "base.safetensors")
    with pytest.raises(WrongTensors):
        pickle.loads(pickled)


def npy_file(folder: Path) -> Path:
    np.save(folder / "images.npy", np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8))
    return folder / "images.npy"


def arrow_file(folder: Path) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import ipc

    rng = np.random.default_rng(0)
    write_soft(folder / "one.png", (64, 64), rng)
    content = (folder / "one.png").read_bytes()
    (folder / "one.png").unlink()
    table = arrow.table({"image": [content] * 20})
    with arrow.OSFile(str(folder / "images.arrow"), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder / "images.arrow"


def values(dataset: Dataset) -> bytes:
    """The content of the first record."""
    record = dataset.read(0)
    return np.asarray(getattr(record, "values", None)).tobytes() if hasattr(record, "values") else record.content()  # type: ignore[union-attr]


@pytest.mark.parametrize("write", [npy_file, arrow_file])
def test_mapped_data_are_opened_again_not_copied(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    dataset = open_dataset(path, IMAGE_RECORDS, SkipLog()).train
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1_000 < path.stat().st_size
    copy: Dataset = pickle.loads(pickled)
    assert (len(copy), copy.digest, copy.key(3)) == (len(dataset), dataset.digest, dataset.key(3))
    assert values(copy) == values(dataset)
    np.save(tmp_path / "more.npy", np.zeros((41, 8, 8), np.uint8))
    (tmp_path / "more.npy").replace(path)
    with pytest.raises(NoTrainingData):
        pickle.loads(pickled)


def test_a_pickled_skip_log_keeps_its_entries_and_is_silent(tmp_path: Path) -> None:
    messages: list[str] = []
    log = SkipLog(tmp_path / "skipped.txt", messages.append)
    log.note("a.png", "damaged")
    copy: SkipLog = pickle.loads(pickle.dumps(log))
    copy.note("b.png", "damaged")
    copy.say("hello")
    copy.write()
    assert len(messages) == 1
    assert (tmp_path / "skipped.txt").read_text("utf-8").splitlines() == ["a.png\tdamaged", "b.png\tdamaged"]
