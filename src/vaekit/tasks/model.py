"""Open a VAE for running: its engine, its domain, and the color correction of its results."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Generator, Tensor

from vaekit.checkpoints.latent_files import LatentOrigin, origin_of
from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import Generates
from vaekit.domains.domain import Domain, LoadedItems, Schema
from vaekit.domains.files import ItemFiles
from vaekit.domains.find import domain_of
from vaekit.domains.finite_results import check_finite, check_weights
from vaekit.evaluation.vae_pass import EngineRunner, VAEPass
from vaekit.runtime.engine import Engine
from vaekit.tasks.coding import coding_notes, set_coding
from vaekit.tasks.decoding import set_decoding
from vaekit.tasks.options import (
    ALL_CODES,
    GREEDY,
    CodingOptions,
    DecodingOptions,
    EngineOptions,
    LatentOptions,
    ModelOptions,
)
from vaekit.tasks.same_vae import check_same


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A VAE that is ready to run. Open it once for many calls."""

    engine: Engine
    domain: Domain
    """The domain of its items."""
    schema: Schema
    """The schema of its items."""
    items: ItemFiles
    """Reads and writes files of its items."""
    opening: "Opening | None" = None
    """How it was opened, with which other processes open it again; None for a VAE that was made in memory."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it as the name of its file.

        Raises:
            TypeError: it has none.
        """
        if self.opening is None:
            raise TypeError("a VAE that was made in memory cannot be opened by other processes")
        return reopened, (self.opening, self.origin.fingerprint)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which of several sets of weights and how many codes are used, and deviations from the plan, as phrases."""
        origin = self.engine.vae.origin
        coding = self.opening.coding if self.opening else ALL_CODES
        codes = coding_notes(self.engine.vae, coding, self.schema.as_plain())
        return (*((origin.note,) if origin and origin.note else ()), *codes, *self.engine.notes)

    def encode(self, loaded: LoadedItems, options: LatentOptions) -> Tensor:
        """The raw latents (b, z, ...) of items; see also `Engine.encode`. Samples depend on seed and names only."""
        runner = EngineRunner(self.engine)
        return VAEPass(tuple(loaded.names), loaded.x, runner, options.seed, options.sampled).latents

    def decode(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        """Decode raw latents (b, z, ...) to items of a size.

        Raises:
            BadItem: the result is not finite; see also `Engine.decode`.
        """
        decoded = self.engine.decode(z, size)
        check_finite(decoded, self.engine)
        return decoded

    @property
    def generates(self) -> bool:
        """Whether items are generated token by token."""
        return isinstance(self.engine.vae.to_likelihood, Generates)

    def draw(self, z: Tensor, size: tuple[int, ...], generator: Generator, temperature: float = 1.0) -> Tensor:
        """Sample items of a size from p(x|z), for raw latents (b, z, ...).

        Args:
            z: raw latents.
            size: of the items.
            generator: of random numbers.
            temperature: of tokens, where items are generated token by token; others ignore it.

        Raises:
            BadItem: the result is not finite; see also `Engine.likelihood`.
        """
        if self.generates:
            check_weights(self.engine)  # no token can be drawn with probabilities that are NaN
        likelihood = self.engine.likelihood(z, size)
        if isinstance(likelihood, AutoregressiveCategorical):
            likelihood = replace(likelihood, decoding=replace(likelihood.decoding, temperature=temperature))
        drawn = likelihood.sample(generator).to(z.device)
        check_finite(drawn, self.engine)
        return drawn

    @cached_property
    def origin(self) -> LatentOrigin:
        """The VAE's identity in latent files. Hashes the weights once."""
        return origin_of(self.engine.vae)

    @property
    def identity(self) -> dict[str, str]:
        """The name and fingerprint of the weights, and the dtype in which they were run, for records of results."""
        plan = self.engine.plan
        names = dict.fromkeys((plan.encode_dtype or plan.dtype, plan.decode_dtype or plan.dtype))
        return {"fingerprint": self.origin.fingerprint, "family": self.origin.family, "dtype": ", ".join(names)}


@dataclass(frozen=True)
class Opening:
    """How a VAE is opened; see `open_model`."""

    model: ModelOptions
    engine: EngineOptions
    correct: bool
    decoding: DecodingOptions
    coding: CodingOptions = ALL_CODES


def reopened(opening: Opening, fingerprint: str) -> OpenModel:
    """Open a VAE in another process.

    Raises:
        ClusterFailed: it has another fingerprint.
    """
    model = open_model(opening.model, opening.engine, opening.correct, opening.decoding, opening.coding)
    check_same(model.engine.vae, opening.model, fingerprint)
    return model


def open_model(
    model: ModelOptions | None = None,
    engine: EngineOptions | None = None,
    correct: bool = False,
    decoding: DecodingOptions = GREEDY,
    coding: CodingOptions = ALL_CODES,
) -> OpenModel:
    """Load a VAE and prepare it for running.

    Args:
        model: which VAE; the built-in one by default.
        engine: how it is run.
        correct: also find its color correction.
        decoding: how sequences are generated.
        coding: to how many codes items are encoded.

    Raises:
        NotFound, AmbiguousName, BadCheckpoint, UnknownVAE, WrongTensors: the VAE cannot be loaded.
        UnknownDomain, BadItem: the VAE is of a domain that vaekit does not know.
        BadPlan: an engine option has a value that does not exist, the VAE generates no sequences, or has other codes.
        NotFound, BadCorrection: there is no color correction, or a damaged one.
    """
    model, engine = model or ModelOptions(), engine or EngineOptions()
    plan, vae = engine.plan(), model.load()
    set_decoding(vae, decoding)
    set_coding(vae, coding)
    domain, schema = domain_of(vae)
    size = domain.batch_size if engine.batch is None else engine.batch
    running = Engine(vae, replace(plan, batch_size=size))
    items = domain.files(running, schema)
    opening = Opening(model.absolute(), engine, correct, decoding, coding)
    return OpenModel(running, domain, schema, items.corrected(model.vae, model.models) if correct else items, opening)
