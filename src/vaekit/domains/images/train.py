"""A recipe and a folder of images -> a run; and what it came to."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import unfold

from vaekit.atomic import atomic_file
from vaekit.domains.images.evaluate import COMPUTING, ImageRunner, image_measures, latent_measures
from vaekit.domains.images.grids import show_in
from vaekit.domains.images.image_measures import fidelity
from vaekit.domains.images.perceptual_terms import perceptual_terms
from vaekit.domains.images.preparation import Preparation, check_fit, preparation_from
from vaekit.domains.images.skip_log import SkipLog
from vaekit.domains.images.training_data import open_training_data
from vaekit.errors import BadRecipe, printable
from vaekit.evaluation.evaluate import Evaluation, EvaluationData, Measures, evaluate, no_progress
from vaekit.evaluation.protocol import MODE, Protocol, versions
from vaekit.families.kl.net import Decoder, Encoder
from vaekit.identification.fingerprint import fingerprint
from vaekit.json import dumps
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.training.adversarial.from_recipe import adversarial_setup
from vaekit.training.data import Stream
from vaekit.training.init_linear import init_linear
from vaekit.training.init_mean import init_to_mean
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import UNBUILDABLE, Recipe
from vaekit.training.run import Run
from vaekit.vae import VAE

EVALUATION = "evaluation.json"
NLL_SAMPLES = 64
"""For the evaluation at the end: enough to tell runs apart, not for a paper."""
SMALLEST_FOR_LPIPS = 64
"""The side of the patches that LPIPS was fitted to (arXiv 1801.03924, section 2)."""
LARGEST_FOR_NLL = 2**14
"""Numbers in an image whose likelihood is estimated at the end: the decoder is asked about each so many times."""
FIRST, BLOCKS = 64, 20_000
"""Four times so many images, and blocks of them at most, that a start is taken from."""

SKIPPED = "skipped.txt"
"""In the folder of a run: what could not be read."""


def prepare_run(
    recipe: Recipe,
    data: Path,
    folder: Path,
    seed: int,
    device: torch.device,
    processes: ProcessGroup,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Everything that a run needs.

    Args:
        recipe: what to train.
        data: what `open_images` takes.
        folder: of the run.
        seed: of all randomness.
        device, processes: where it is trained.
        say: told what a person should know about the data.

    Raises:
        NotFound, NoTrainingData, BadRecipe, MissingPackage: see there.
    """
    preparation, schedule = preparation_from(recipe.words.get("images", {})), recipe.schedule()
    check_fit(preparation, recipe.config(), recipe.name)
    check_round_trip(recipe, preparation)
    perceptual = perceptual_terms(recipe, device)
    objective = recipe.objective(perceptual.given)
    found = open_training_data(data, preparation, seed, SkipLog(folder / SKIPPED, say))
    stream = Stream(found.source, seed)
    against = adversarial_setup(recipe, preparation.channels, found.held_out, seed, device)
    return Run(
        recipe,
        folder,
        stream,
        {**found.words, **perceptual.words},
        objective,
        schedule,
        found.held_out,
        start=initializer_for(recipe, stream),
        opponent=against.opponent,
        guard=against.guard,
        extras=against.extras,
        device=device,
        processes=processes,
        workers=found.workers,
        show=partial(show_in, folder),
    )


def with_duration(run: Run, recipe: Recipe) -> Run:
    """The same run by a recipe that lasts longer or shorter. Its images are not looked for again; what learns beside
    the VAE begins anew.

    Raises:
        NotFound, BadRecipe: see `prepare_run`.
    """
    perceptual, schedule = perceptual_terms(recipe, run.device), recipe.schedule()
    channels = preparation_from(recipe.words.get("images", {})).channels
    against = adversarial_setup(recipe, channels, run.held_out, run.stream.seed, run.device)
    return replace(
        run,
        recipe=recipe,
        objective=recipe.objective(perceptual.given),
        schedule=schedule,
        start=initializer_for(recipe, run.stream),
        opponent=against.opponent,
        guard=against.guard,
        extras=against.extras,
    )


def check_round_trip(recipe: Recipe, preparation: Preparation) -> None:
    """Refuse a VAE that one such image does not go through: better now than when all data were looked at.

    Raises:
        BadRecipe: it cannot be built or run.
    """
    vae = recipe.vae().eval()
    x = torch.zeros(1, preparation.channels, preparation.size, preparation.size)
    try:
        with torch.no_grad():
            vae.reconstruct(x)
    except UNBUILDABLE as error:
        raise BadRecipe(
            f"An image does not go through the VAE of the recipe {recipe.name}: {error}.", "", "Look at its [vae]."
        ) from error


def initializer_for(recipe: Recipe, stream: Stream) -> Callable[[VAE], None] | None:
    """What the recipe's `start` does to new weights: "linear" is `training/linear_start.py`, "mean" `mean_start.py`.

    Raises:
        BadRecipe: there is no such start, or the VAE has no room for it.
    """
    told = recipe.words.get("start")
    if told is None:
        return None

    def start(vae: VAE) -> None:
        if told == "mean" and init_to_mean(vae, first_images(stream)):
            return
        if told != "linear" or not isinstance(vae.encoder, Encoder) or not isinstance(vae.decoder, Decoder):
            raise BadRecipe(
                f"The recipe {recipe.name} has start = {printable(repr(told))}.",
                'Expected "linear" for a VAE of the family "kl", "mean" for nets mlp or residual, or no start.',
                "",
            )
        init_linear(vae.encoder, vae.decoder, blocks_of(first_images(stream), vae.geometry.factors[0]))

    return start


def first_images(stream: Stream) -> Tensor:
    """Some of those that a run begins with, (n, c, h, w)."""
    return torch.cat([stream.batch(place, FIRST) for place in range(0, 4 * FIRST, FIRST)])


def blocks_of(images: Tensor, side: int) -> Tensor:
    """Blocks of so many pixels a side, (n, c, side, side)."""
    columns = unfold(images.contiguous(), side, stride=side)
    blocks = columns.transpose(1, 2).reshape(-1, images.shape[1], side, side)
    return blocks[:: max(1, len(blocks) // BLOCKS)]


def evaluate_run(run: Run, vae: VAE, progress: Callable[[int, int], None] = no_progress) -> Evaluation | None:
    """PSNR and SSIM of the held-out images, LPIPS of those in color that are not small, the use of codes where there
    are some, KL and (of small images) ELBO and NLL where there is a prior: written to the run's folder. None where no
    images were held out.

    Raises:
        NothingEvaluated, CannotWrite: as `evaluate` does.
    """
    if run.held_out is None:
        return None
    held_out = run.held_out
    colored = held_out.shape[1] == 3 and min(held_out.shape[2:]) >= SMALLEST_FOR_LPIPS
    seen, missing = image_measures(run.device) if colored else ([fidelity()], {})
    said = latent_measures(vae, NLL_SAMPLES if held_out[0].numel() <= LARGEST_FOR_NLL else 0)
    measures = Measures((*seen, *said.items), said.pooled)
    names = [f"held-out-{i:04}" for i in range(len(held_out))]
    engine = Engine(vae, Plan(device=str(run.device)))
    protocol = Protocol(
        vae=fingerprint(vae),
        data="held-out images of the run",
        items=len(names),
        chosen="held out from training",
        preparation=dict(run.recipe.words.get("images", {})),
        latents=MODE,
        seed=0,
        run={"device": str(run.device), "dtype": engine.plan.dtype},
        batch=16,
        measures=measures.settings(),
        versions=versions(COMPUTING),
    )
    data = EvaluationData(names, lambda name: held_out[int(name.rpartition("-")[2])])
    found = evaluate(ImageRunner(engine), data, measures, protocol, not_measured=missing, progress=progress)
    with atomic_file(run.folder / EVALUATION) as part:
        part.write_text(dumps(found.as_json()) + "\n", "utf-8")
    return found
