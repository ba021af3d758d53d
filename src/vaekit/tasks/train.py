"""Train a VAE with a recipe on data of any domain, and evaluate the result on held-out items; or a diffusion model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from vaekit.datasets.skip_log import SkipLog
from vaekit.diffusion.recipe import is_diffusion
from vaekit.domains.domain import Domain, Schema
from vaekit.domains.find import domain_named
from vaekit.domains.recipes import recipe
from vaekit.errors import BadItem, BadRecipe
from vaekit.evaluation.evaluate import Evaluation, EvaluationData, evaluate, no_progress, write_result
from vaekit.evaluation.protocol import MODE, Protocol, versions
from vaekit.identification.fingerprint import fingerprint
from vaekit.identification.metadata import domain_notes
from vaekit.run_folder import EVALUATION, SKIPPED
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.tasks.examples import write_examples
from vaekit.tasks.latent_data import Reporting
from vaekit.tasks.options import ModelOptions
from vaekit.tasks.train_diffusion import prepare_diffusion, with_schedule
from vaekit.training.adversarial.from_recipe import adversarial_setup
from vaekit.training.data import Stream
from vaekit.training.initialize import initializer_for
from vaekit.training.log import LogEvent
from vaekit.training.processes import ProcessGroup, join_processes
from vaekit.training.recipe import UNBUILDABLE, Recipe
from vaekit.training.run import Run, run_training, samples_for_duration
from vaekit.vae import VAE

BATCH = 16
"""The batch size of evaluation."""


@dataclass(frozen=True)
class TrainOptions:
    """Recipe, data and settings of a training run."""

    recipe: str
    """The name of a recipe, or the path of a file."""
    data: Path
    out: Path
    """The folder of the run."""
    samples: int | None = None
    """The number of training samples; None for the recipe's."""
    minutes: float | None = None
    """The duration on this machine, instead of a number of samples; None for `samples`."""
    seed: int = 0
    changes: Sequence[str] = ()
    """Overrides of single values of the recipe: "schedule.learning_rate=5e-4"."""
    device: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Tables: the kinds of columns that are not to be inferred, such as {"amount": "positive"}."""
    vae: ModelOptions | None = None
    """Recipes of diffusion models: the VAE whose latents are generated."""


@dataclass(frozen=True)
class TrainCallbacks:
    """Callbacks for progress and messages."""

    log: Callable[[LogEvent], None] = lambda _: None
    """Called with progress reports."""
    say: Callable[[str], None] = lambda _: None
    """Called with messages for the user."""
    stop: Callable[[], bool] = lambda: False
    """Returns True to save the state and stop."""
    measuring: Callable[[int, int], None] = no_progress
    """Called with the number of items whose latents were measured, or that were encoded, and the total."""
    evaluating: Callable[[int, int], None] = no_progress
    """Called with the number of evaluated held-out items, and the total."""


@dataclass(frozen=True, eq=False)
class PreparedRun:
    """A run, with the domain and schema of its data."""

    run: Run[VAE, Tensor]
    domain: Domain
    schema: Schema


@dataclass(frozen=True)
class TrainResult:
    """The result of a training."""

    out: Path
    items: str
    """The plural noun for items."""
    evaluation: Evaluation | None = None
    """Of the held-out items; None if there are none, and in all processes but the first."""
    first: bool = field(default=True)
    """Whether this is the process that writes files and messages."""
    examples: tuple[Path, ...] = ()
    """Files with samples and reconstructions, of domains that show nothing while a run goes on."""


def train(options: TrainOptions, callbacks: TrainCallbacks = TrainCallbacks()) -> TrainResult:
    """Train a VAE, resuming an interrupted run in the folder, and evaluate the result; or a diffusion model.

    Raises:
        NotFound, NoTrainingData, BadRecipe, UnknownDomain, MissingPackage: see `prepare_run`.
        RecipeChanged, TrainingStopped, TrainingDiverged, CannotWrite: see `run_training`.
        BadRecipe: a VAE is given for a recipe that trains one.
    """
    processes, device = join_processes(Plan(device=options.device).torch_device)
    say = callbacks.say if processes.first else quietly

    def recipe_for(samples: int | None) -> Recipe:
        changes = [*options.changes, *([f"schedule.samples={samples}"] if samples else [])]
        chosen = recipe(options.recipe, changes)
        return chosen.with_data({"columns": dict(options.columns)}) if options.columns else chosen

    if is_diffusion(recipe_for(options.samples)):
        return train_diffusion(options, callbacks, recipe_for, device, processes, say)
    if options.vae is not None:
        raise BadRecipe(
            f"The recipe {options.recipe} trains a VAE, and another one is given.",
            "Expected --vae with a recipe of a diffusion model only.",
            "Leave it out; `vaekit finetune` goes on with an existing VAE.",
        )
    prepared = prepare_run(recipe_for(options.samples), options.data, options.out, options.seed, device, processes, say)
    if options.minutes:
        samples = samples_for_duration(prepared.run, 60 * options.minutes, say)
        prepared = with_duration(prepared, recipe_for(samples))
    vae = run_training(prepared.run, callbacks.log, say, callbacks.stop, callbacks.measuring)
    if not processes.first:
        return TrainResult(options.out, prepared.domain.items, first=False)
    evaluation = evaluate_run(prepared, vae, callbacks.evaluating)
    return TrainResult(options.out, prepared.domain.items, evaluation, examples=tuple(examples_of(prepared, vae, say)))


def train_diffusion(
    options: TrainOptions,
    callbacks: TrainCallbacks,
    recipe_for: Callable[[int | None], Recipe],
    device: torch.device,
    processes: ProcessGroup,
    say: Callable[[str], None],
) -> TrainResult:
    """Train a diffusion model, resuming an interrupted run; see `train`.

    Args:
        options, callbacks: of the call.
        recipe_for: the recipe for a number of samples; None for its own.
        device, processes: the device of this process, and all processes.
        say: called with messages for the user.

    Raises:
        NotFound, NoTrainingData, BadRecipe, TrainingStopped: see `prepare_diffusion`.
        RecipeChanged, TrainingStopped, TrainingDiverged, CannotWrite: see `run_training`.
    """
    prepared = prepare_diffusion(
        recipe_for(options.samples),
        options.data,
        options.out,
        options.seed,
        options.vae,
        device,
        processes,
        SkipLog(options.out / SKIPPED, say),
        Reporting(callbacks.measuring, callbacks.stop),
    )
    if options.minutes:
        samples = samples_for_duration(prepared.run, 60 * options.minutes, say)
        prepared = with_schedule(prepared, recipe_for(samples))
    run_training(prepared.run, callbacks.log, say, callbacks.stop)
    return TrainResult(options.out, prepared.items, first=processes.first)


def prepare_run(
    recipe: Recipe,
    data: Path,
    folder: Path,
    seed: int,
    device: torch.device,
    processes: ProcessGroup,
    say: Callable[[str], None] = lambda _: None,
) -> PreparedRun:
    """Prepare a run, without writing anything.

    Args:
        recipe: the recipe.
        data: a path; see `open_dataset`.
        folder: of the run.
        seed: of all randomness.
        device, processes: the device of this process, and all processes.
        say: called with messages about the data.

    Raises:
        NotFound, NoTrainingData, MissingPackage: the data cannot be opened; see `open_dataset`.
        BadRecipe, UnknownDomain: the recipe is invalid.
    """
    domain = domain_named(recipe.domain)
    log = SkipLog(folder / SKIPPED, say)
    table = {name: value for name, value in recipe.data.items() if name != "domain"}
    domain.check_table(table)
    splits = domain.open(data, log)
    schema = domain.schema(table, splits, log.say)
    recipe = recipe.with_defaults(schema.vae_settings())
    domain.check_fit(schema, recipe)
    check_round_trip(recipe, domain, schema)
    terms, schedule = domain.term_settings(recipe, device), recipe.schedule()
    objective = recipe.objective(terms.given)
    training = domain.training_data(table, splits, schema, seed, log)
    stream = Stream(training.source, seed)
    adversarial = adversarial_setup(recipe, schema.example().shape[1], training.held_out, seed, device)
    run = Run(
        recipe,
        folder,
        stream,
        {**training.description, **terms.description},
        objective,
        schedule,
        training.held_out,
        start=initializer_for(recipe, stream),
        notes=domain_notes(domain.name, schema.as_plain()),
        adversary=adversarial.adversary,
        guard=adversarial.guard,
        extras=adversarial.extras,
        device=device,
        processes=processes,
        workers=training.workers,
        show=domain.board(folder),
    )
    return PreparedRun(run, domain, schema)


def with_duration(prepared: PreparedRun, recipe: Recipe) -> PreparedRun:
    """The same run with a recipe of another duration. The data are not opened again; an adversary is reset.

    Raises:
        NotFound, BadRecipe: see `prepare_run`.
    """
    run, schema = prepared.run, prepared.schema
    recipe = recipe.with_defaults(schema.vae_settings())
    terms = prepared.domain.term_settings(recipe, run.device)
    adversarial = adversarial_setup(recipe, schema.example().shape[1], run.held_out, run.stream.seed, run.device)
    run = replace(
        run,
        recipe=recipe,
        objective=recipe.objective(terms.given),
        schedule=recipe.schedule(),
        start=initializer_for(recipe, run.stream),
        adversary=adversarial.adversary,
        guard=adversarial.guard,
        extras=adversarial.extras,
    )
    return replace(prepared, run=run)


def check_round_trip(recipe: Recipe, domain: Domain, schema: Schema) -> None:
    """Reject a VAE that cannot reconstruct an example item, before the data are read.

    Raises:
        BadRecipe: the VAE cannot be built or run.
    """
    vae = recipe.vae().eval()
    try:
        with torch.no_grad():
            vae.reconstruct(schema.example())
    except UNBUILDABLE as error:
        raise BadRecipe(
            f"The VAE of the recipe {recipe.name} does not accept the {domain.items}: {error}.", "", "Check its [vae]."
        ) from error


def evaluate_run(
    prepared: PreparedRun, vae: VAE, progress: Callable[[int, int], None] = no_progress
) -> Evaluation | None:
    """Evaluate the result on the held-out items, and write the evaluation to the run's folder; None without held-out
    items.

    Raises:
        NothingEvaluated, CannotWrite: see `evaluate`.
    """
    run, domain, schema = prepared.run, prepared.domain, prepared.schema
    if run.held_out is None:
        return None
    held_out = run.held_out
    measures, missing = domain.held_out_measures(vae, schema, held_out, run.device)
    names = [f"held-out-{i:04}" for i in range(len(held_out))]
    plan = Plan(device=str(run.device))
    runner, _ = domain.runner(vae, plan)
    protocol = Protocol(
        vae=fingerprint(vae),
        data=f"held-out {domain.items} of the run",
        items=len(names),
        chosen="held out from training",
        preparation=dict(run.recipe.data),
        latents=MODE,
        seed=0,
        run={"device": str(run.device), "dtype": plan.dtype},
        batch=BATCH,
        measures=measures.settings(),
        versions=versions(domain.computing),
    )
    data = EvaluationData(names, lambda name: held_out[int(name.rpartition("-")[2])])
    evaluation = evaluate(runner, data, measures, protocol, device=run.device, not_measured=missing, progress=progress)
    write_result(evaluation, run.folder / EVALUATION)
    return evaluation


def examples_of(prepared: PreparedRun, vae: VAE, say: Callable[[str], None]) -> list[Path]:
    """Write examples of what the VAE does, where the domain has shown nothing of it yet.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    run, domain = prepared.run, prepared.domain
    if run.show is not None:
        return []
    engine = Engine(vae, Plan(device=str(run.device), batch_size=domain.batch_size))
    try:
        return write_examples(engine, domain, prepared.schema, run.held_out, run.folder)
    except BadItem as error:
        say(f"There are no examples in the folder of the run: {error}")
        return []


def quietly(_: str) -> None:
    """Ignore a message: only the first process reports."""
