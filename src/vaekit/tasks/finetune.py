"""Fine-tune a VAE, measure it before and after, and write a report and a model card."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from vaekit.atomic import atomic_file
from vaekit.checkpoints.convert import storage_dtype
from vaekit.checkpoints.finetuned_writer import base_model_at
from vaekit.checkpoints.load import load
from vaekit.comparison.candidates import VAECandidate
from vaekit.comparison.compare import compare
from vaekit.comparison.image_sources import images_in
from vaekit.comparison.latent_space import measured_spaces, with_latent_spaces
from vaekit.comparison.records import Report
from vaekit.domains.images.finetune import FinetuneOptions, Finetuning, prepare_finetuning, write_held_out
from vaekit.domains.images.perception import image_perception
from vaekit.domains.measuring import MeasureOptions
from vaekit.domains.recipes import recipe as find_recipe
from vaekit.errors import counted
from vaekit.formats.tensor_file import dtype_name
from vaekit.identification.build import build
from vaekit.library.names import locate_vae
from vaekit.library.upload import weights_files
from vaekit.report.card_images import AFTER, BEFORE, ColorErrors, write_crops, write_histogram
from vaekit.report.model_card import IMAGES, About, model_card
from vaekit.report.page import write_report
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.compare import library_versions, lpips_models
from vaekit.tasks.options import ModelOptions
from vaekit.training.log import LogEvent
from vaekit.training.run import run_training
from vaekit.vae import VAE

PAGE, CARD = "report.html", "README.md"
SHOWN = 4
CARDS_FROM = 2**24
"""The number of trained pixels from which the built-in test cards are measured, too: 256 samples of 256x256. Below, the
cards would take longer than the training."""
LEAST_MEASURED = 16
"""Held-out images that are measured after a run of fewer samples; after others, as many as there were samples."""
IN_METADATA = ("psnr", "ssim", "lpips_alex", "delta_e", "red_shift", "green_shift", "blue_shift")


@dataclass(frozen=True)
class FinetuneRequest:
    """The trained part, the data, and the name of the result."""

    data: Path
    out: Path
    recipe: str = "finetune"
    overrides: Sequence[str] = ()
    """KEY=VALUE, for values of the recipe."""
    seed: int = 0
    whole: bool = False
    """Also train the encoder."""
    dtype: str | None = None
    """The dtype of the result; None for that of the base model."""
    lpips: Path | None = None
    device: str | None = None
    title: str = ""
    """The title of the model card; by default the name of the run folder."""
    license: str = ""
    """The license of the result; by default that of the base model."""
    latent: bool = False
    """Also measure the latent spaces before and after."""


@dataclass(frozen=True)
class FinetuneResult:
    """A finished run."""

    report: Report
    lineage: dict[str, Any]
    """The base model, the data and the recipe of the result."""
    metrics: dict[str, Any]
    """Before and after."""
    files: list[str]
    """The names of the files with weights."""


@dataclass(frozen=True, eq=False)
class FinetuneJob:
    """A fine-tune that is ready to run: first `train`, then `measure`."""

    tuning: Finetuning
    request: FinetuneRequest

    def train(
        self,
        on_event: Callable[[LogEvent], None],
        say: Callable[[str], None],
        stop: Callable[[], bool] = lambda: False,
    ) -> VAE:
        """Train, or go on from the last state in the run folder, and write the weights; see `run_training`."""
        return run_training(self.tuning.run, on_event, say, stop)

    def measure(self, vae: VAE, progress: Progress = no_progress) -> FinetuneResult:
        """Measure the file that was written against the base model, and write report, model card and metadata.

        Args:
            vae: the result of `train`.
            progress: called with the number of measured images and of all.
        """
        tuning, folder, plan = self.tuning, self.tuning.run.folder, Plan(device=self.request.device)
        held_out = write_held_out(tuning)[0].parent
        models = {AFTER: load(folder), BEFORE: build(tuning.parent.original)}
        candidates = [VAECandidate(name, Engine(each, plan)) for name, each in models.items()]
        errors = {name: ColorErrors() for name in models}
        for candidate in candidates:
            candidate.listeners.append(errors[candidate.name])
        perceptual, not_measured = lpips_models(self.request.lpips, vgg=False)
        samples = tuning.run.schedule.samples
        cards = samples * prod(tuning.held_out.shape[2:]) >= CARDS_FROM
        if not cards:
            not_measured["test cards"] = (
                f"Training was short: {counted(samples, 'sample')}. `vaekit compare` uses them."
            )
        protocol: dict[str, Any] = {
            "dtype": plan.dtype,
            "device": str(plan.torch_device),
            "seed": tuning.run.stream.seed,
            "latents": "the posterior's mode",
            "images_measured": "held-out images, 8-bit sRGB",
            "not_measured": not_measured,
            "versions": library_versions(),
        }
        sources = images_in([held_out], max(LEAST_MEASURED, samples), 0)
        compared = compare(sources, candidates, perceptual, protocol, SHOWN, progress, cards)
        report, shown = compared.report, list(compared.shown)
        if self.request.latent:
            perception = image_perception(MeasureOptions(lpips=self.request.lpips), plan.torch_device)
            spaces = measured_spaces(candidates, sources, perception, protocol, progress)
            report = with_latent_spaces(report, spaces)
        metrics = metrics_of(report)
        write_report(report, shown, folder / PAGE)
        files = [each.name for each in tuning.write(vae, metrics)]
        crops = write_crops(shown, folder / IMAGES)
        histogram = write_histogram(errors[BEFORE], errors[AFTER], folder / IMAGES / "color_errors.png")
        text = model_card(self.about(files), report, crops, histogram)
        with atomic_file(folder / CARD) as part:
            part.write_text(text, "utf-8")
        return FinetuneResult(report, tuning.lineage(), metrics, [each.name for each in weights_files(folder)])

    def about(self, files: list[str]) -> About:
        """The facts about the run in the model card."""
        tuning, request = self.tuning, self.request
        parent, entry = tuning.parent, tuning.parent.entry
        dtype = parent.written_dtype(tuning.options.dtype)
        return About(
            request.title or request.out.resolve().name,
            tuning.lineage(),
            dict(tuning.run.recipe.table),
            files,
            parent.layout,
            [dtype_name(dtype)] if dtype else parent.dtypes,
            request.license or (entry.license if entry and entry.license != "unknown" else ""),
            "as stated by those who trained it" if request.license else "as that of its parent",
            entry.maker if entry else "",
            getattr(parent.identified.config, "padding", ""),
            bool(tuning.run.schedule.averages),
            parent.diffusers_class,
        )


@contextmanager
def open_finetuning(
    model: ModelOptions, request: FinetuneRequest, say: Callable[[str], None] = lambda _: None
) -> Iterator[FinetuneJob]:
    """Find the base model, the data and the recipe; nothing is written yet.

    Args:
        model: the base model, and the padding mode to train with.
        request: what is trained.
        say: called with messages about the data.

    Raises:
        NotFound, AmbiguousName, BadCheckpoint, UnknownVAE, WrongTensors, HalfMissing: the VAE cannot be used.
        BadRecipe, NoTrainingData, BadPlan: recipe, data or device cannot be used.
    """
    options = FinetuneOptions(
        request.whole,
        storage_dtype(request.dtype) if request.dtype else None,
        request.lpips,
        Plan(device=request.device).torch_device,
    )
    with locate_vae(model.vae, model.models) as path:
        parent = base_model_at(path, model.vae, model.padding, model.weights)
        if parent.identified.note:
            say(f"{model.vae}: {parent.identified.note}")
        recipe = find_recipe(request.recipe, request.overrides)
        yield FinetuneJob(
            prepare_finetuning(recipe, parent, request.data, request.out, request.seed, options, say), request
        )


def metrics_of(report: Report) -> dict[str, Any]:
    """The metrics that the metadata of the weights state, before and after."""
    values = {
        one.name: {name: one.measures[name].value for name in IN_METADATA if name in one.measures}
        for one in report.candidates
    }
    return {"held_out_images": len(report.candidates[0].images), **values}
