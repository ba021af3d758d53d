"""Sample items: latents from a prior, decoded."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from vaekit.distributions import NormalAndUniform, SampledPrior, StandardNormal
from vaekit.domains.sample_quality import CompareSamples, SampleQuality
from vaekit.errors import BadItem, BadPlan, NoPrior, counted
from vaekit.geometry import size_text
from vaekit.json import plain
from vaekit.latents.fitted_prior import FittedMixture, fit_mixture
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.encoded_data import encoded
from vaekit.tasks.model import OpenModel
from vaekit.tasks.record import write_record
from vaekit.tasks.sample_selection import selection
from vaekit.training.seeds import generator_for
from vaekit.vae import half_missing

NAME = "samples"
"""The start of the names of files."""
VALUES = 2**24
"""Of the items that are decoded at once, and of the latents that are drawn at once, unless one has more."""
CHUNK = 64
"""Latents that are drawn at once, or fewer large ones. Their generator follows from the seed and the number of the
first one alone, so that samples depend neither on the requested number nor on the batch size."""
MOST_ROUNDS, FEWEST_DRAWS = 20, 640
"""Sampling ends after this number of draws for each item that is wanted, but not before the second number in all."""
HOTTEST = 1000
"""Temperature. Above it, latents leave the range of half precision."""
DIFFUSION = "Train a diffusion model over the latents, and decode its samples."
NAMES_OF_PRIORS: Mapping[type, str] = {
    StandardNormal: "N(0, I)",
    NormalAndUniform: "N(0, I) with uniform categories",
}
"""Those that are not learned, for people."""
STANDARD, FITTED = "standard", "fitted"


@dataclass(frozen=True)
class SampleOptions:
    """The number, prior and size of samples."""

    count: int = 16
    prior: str = STANDARD
    """"standard", the VAE's own; or "fitted", a Gaussian mixture fitted to encoded data."""
    data: Path | None = None
    """The data that the prior is fitted to, and that samples are compared with, in domains that have measures of it."""
    temperature: float = 1.0
    """Factor on the standard deviation of a normal prior; of a VAE of sequences, instead the temperature of tokens. 0
    takes the most probable ones."""
    seed: int = 0
    size: int | None = None
    """Side of the items, for a VAE that takes any size; None for the domain's default."""
    greedy: bool = False
    """Take the most probable values of items, even where samples vary."""
    unique: bool = False
    """Each item once."""
    new_to: Path | None = None
    """Only items that are not in these data."""
    keep_invalid: bool = False
    """Keep items that are none of the domain, such as SMILES of no molecule."""


@dataclass(frozen=True)
class Samples:
    """The written samples."""

    files: tuple[Path, ...]
    items: int
    prior: str
    """The name of the prior, a phrase."""
    notes: tuple[str, ...]
    quality: SampleQuality | None = None
    """How similar they are to the data; None without data, or measures."""
    drawn: int = 0
    """Samples that were drawn for these."""
    invalid: int = 0
    """Of those that were drawn."""
    repeated: int = 0
    """Of those that were drawn, items that were there before, and were left out."""
    known: int = 0
    """Of those that were drawn, items of the data that they should be new to."""


def sample(
    model: OpenModel, out: Path, options: SampleOptions = SampleOptions(), progress: Progress = no_progress
) -> Samples:
    """Sample items and write them into a folder, with a record for repeating the call.

    Args:
        model: the VAE.
        out: the folder; it is created.
        options: what is sampled.
        progress: called with the number of encoded items of the data and of all, then with those of decoded items.

    Raises:
        HalfMissing: the VAE has no decoder.
        NoPrior: the VAE has no prior that can be sampled.
        TooLittleMemory: an item needs more memory than there is.
        BadPlan: an option has a value that does not exist, or does not suit the VAE.
        NotFound, NoTrainingData, BadItem: the data of a fitted prior, or those that samples are compared with, cannot
            be read.
        BadItem: no sample is wanted: all are invalid, or known.
        MissingPackage: a fitted prior needs scikit-learn.
        CannotWrite: the disk is full, or the like.
    """
    if model.engine.vae.decoder is None:
        raise half_missing("decoder", "encoder")
    geometry, size = model.engine.geometry, item_size(model, options)
    compare = comparison(model, options)
    prior, words = prior_of(model, options, progress)
    shape = (geometry.latent_channels, *latent_size(model, options))
    model.engine.explain(*size, only="decode")  # refuses sizes whose latents alone would fill the memory

    kept, remarks = selection(model, options.unique, options.new_to, options.keep_invalid, progress)

    def missing() -> int:
        return kept.missing(options.count)

    compared: list[object] = []

    def items() -> Iterator[object]:
        for decoded in batches(model, prior, shape, size, options, missing):
            chosen = list(islice(kept(model.schema.to_items(decoded)), missing()))
            if compare is not None:
                compared.extend(chosen)
            yield from chosen
            progress(kept.kept, options.count)
        if not kept.kept:
            raise BadItem(
                f"None of {counted(kept.drawn, 'sample')} is wanted: {kept.left_out}.",
                f"Expected {model.domain.items} that are valid, and new where --new-to is given.",
                "Train the VAE longer, or leave out these options.",
            )

    files = model.domain.write_many(items(), out, NAME, model.schema)
    quality = None if compare is None else compare(compared, options.seed)
    record = {
        "vae": model.identity,
        **asdict(options),
        "data": None if options.data is None else str(options.data),
        "new_to": None if options.new_to is None else str(options.new_to),
        "drawn": kept.drawn,
        "invalid": kept.invalid,
        "repeated": kept.repeated,
        "known": kept.already_known,
        "quality": plain(quality and {**quality.values, f"{quality.part}_distances": quality.parts}),
    }
    return Samples(
        (*files, write_record(out / f"{NAME}.json", record)),
        kept.kept,
        words,
        (*size_notes(size, options), *notes_on(shape, prior), *remarks, *kept.notes(options.count)),
        quality,
        kept.drawn,
        kept.invalid,
        kept.repeated,
        kept.already_known,
    )


def comparison(model: OpenModel, options: SampleOptions) -> CompareSamples | None:
    """What compares samples with the data.

    Raises:
        BadPlan: there are data that nothing uses.
        NotFound, NoTrainingData: the data cannot be read.
    """
    if options.data is None:
        return None
    compare = model.domain.sample_comparison(options.data, model.schema)
    if compare is None and options.prior == STANDARD:
        raise BadPlan(
            f"Data were given, which the {options.prior} prior does not use, and there are no measures of samples of "
            f"{model.domain.items}.",
            f"Expected --data only with --prior {FITTED}.",
            "Add that, or omit --data.",
        )
    return compare


def batches(
    model: OpenModel,
    prior: SampledPrior,
    shape: tuple[int, ...],
    size: tuple[int, ...],
    options: SampleOptions,
    missing: Callable[[], int],
) -> Iterator[Tensor]:
    """Samples (b, ...), as the VAE returns them, until none are missing, or too many were drawn."""
    at_once = max(1, VALUES // (model.engine.geometry.channels * prod(size)))
    continuous = model.schema.example().is_floating_point()
    for start, z in latents(prior, shape, options, prior_factor(model, options)):
        if varies(model, options):  # all of the chunk, as the values of the first ones would depend on the number
            yield model.draw(z, size, generator_for(options.seed, "values", start), options.temperature)
        elif not continuous:  # all, too: where two tokens are about equally probable, rounding decides
            yield model.decode(z, size)
        else:
            yield from decoded_parts(model, z, size, at_once, missing)
        if missing() <= 0:
            return


def decoded_parts(
    model: OpenModel, z: Tensor, size: tuple[int, ...], at_once: int, missing: Callable[[], int]
) -> Iterator[Tensor]:
    """Decode latents (b, z, ...) in order, no more at a time than are missing."""
    start = 0
    while start < len(z) and missing() > 0:
        part = z[start : start + min(at_once, missing())]
        yield model.decode(part, size)
        start += len(part)


def varies(model: OpenModel, options: SampleOptions) -> bool:
    """Whether values are drawn from p(x|z), rather than the most probable ones taken."""
    return model.domain.samples_vary and not options.greedy and not (model.generates and options.temperature == 0)


def prior_factor(model: OpenModel, options: SampleOptions) -> float:
    """The factor on the standard deviation of the prior."""
    return 1.0 if model.generates else options.temperature


def item_size(model: OpenModel, options: SampleOptions) -> tuple[int, ...]:
    """The size of samples along each axis: the VAE's fixed size, the requested one, or the domain's default."""
    default = tuple(model.schema.example().shape[2:])
    return model.engine.geometry.size or tuple(options.size or side for side in default)


def latent_size(model: OpenModel, options: SampleOptions) -> tuple[int, ...]:
    """The size of their latents along each axis."""
    return model.engine.latent_size(*item_size(model, options))


def prior_of(model: OpenModel, options: SampleOptions, progress: Progress = no_progress) -> tuple[SampledPrior, str]:
    """The prior and its name, a phrase."""
    if options.prior not in (STANDARD, FITTED):
        raise BadPlan(f"There is no prior {options.prior!r}.", f"Expected {STANDARD} or {FITTED}.", "")
    if not 0 <= options.temperature <= HOTTEST:
        raise BadPlan(
            f"The temperature is {options.temperature:g}.", f"Expected 0 to {HOTTEST:,}.", "1 samples the prior itself."
        )
    normal = options.prior != FITTED and isinstance(model.engine.vae.prior, StandardNormal)
    if prior_factor(model, options) != 1 and not normal:
        raise BadPlan("Only the prior N(0, I) has a temperature.", "Expected --temperature 1.", "")
    if options.prior == FITTED:
        return fitted_prior(model, options, progress)
    prior = model.engine.vae.prior
    if not isinstance(prior, SampledPrior):
        raise NoPrior(
            "The VAE has no prior that can be sampled: "
            + ("its posterior is a point." if prior is None else "its latents are codes of a codebook."),
            "Expected a VAE with a prior over continuous latents.",
            DIFFUSION if has_maps(model, options) else "Fit one to encoded data: --prior fitted --data PATH.",
        )
    return prior, NAMES_OF_PRIORS.get(type(prior), "the prior that the VAE learned")


def has_maps(model: OpenModel, options: SampleOptions) -> bool:
    """Whether latents have more than one position."""
    return prod(latent_size(model, options)) > 1


def fitted_prior(model: OpenModel, options: SampleOptions, progress: Progress) -> tuple[FittedMixture, str]:
    """A mixture fitted to the latents of data."""
    if has_maps(model, options):
        raise BadPlan(
            "The latents of this VAE are maps, and a Gaussian mixture cannot describe how their positions depend on "
            "each other.",
            "Expected a VAE with one vector per item.",
            DIFFUSION,
        )
    if options.data is None:
        raise BadPlan("A fitted prior needs data.", "Expected --data.", "Name the data that the VAE was trained on.")
    z, skipped = encoded(model, options.data, progress=progress)
    prior = fit_mixture(z.flatten(1), options.seed)
    left_out = f" ({skipped:,} cannot be read)" if skipped else ""
    count = len(prior.weights)
    kind = "one Gaussian" if count == 1 else f"a mixture of {count} Gaussians"
    return prior, f"{kind}, fitted to {counted(len(z), model.domain.item, model.domain.items)}{left_out}"


def latents(
    prior: SampledPrior, shape: tuple[int, ...], options: SampleOptions, factor: float
) -> Iterator[tuple[int, Tensor]]:
    """Latents (b, *shape) in chunks, with the number of the first one, for as many rounds as there may be."""
    chunk = min(CHUNK, max(1, VALUES // prod(shape)))
    for start in range(0, max(FEWEST_DRAWS, MOST_ROUNDS * options.count), chunk):
        z = prior.sample(torch.empty(chunk, *shape), generator_for(options.seed, "sample", start))
        yield start, z * factor


def size_notes(size: tuple[int, ...], options: SampleOptions) -> tuple[str, ...]:
    """Whether the size that was asked for was ignored."""
    if options.size is None or (size and set(size) == {options.size}):
        return ()
    only = f"All items of this VAE have the size {size_text(size)}" if size else "The items of this VAE have no size"
    return (f"{only}: --size {options.size} was ignored.",)


def notes_on(shape: tuple[int, ...], prior: SampledPrior) -> tuple[str, ...]:
    """Notes on the quality of samples."""
    positions = prod(shape[1:])
    if positions == 1 or not isinstance(prior, StandardNormal):
        return ()
    return (
        f"The latents are maps of {positions:,} positions, which are independent under N(0, I): decoders trained with "
        "a small KL weight, such as those of Stable Diffusion, make noise of them. Good samples need a diffusion model "
        "over the latents.",
    )
