"""Measure a latent space: its distribution, its spectra, and what lies between the latents of items.

Four passes over the data, each an evaluation of its own that resumes after an interruption:

    latents         every item is encoded: moments of the aggregate posterior, dimension, spectra
    equivariance    of a subset of the items
    interpolations  the middle between each latent and its nearest neighbor is decoded: iFID
    paths           perceptual path length and shape of paths, from a subset of the items to random partners
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.errors import NothingEvaluated
from vaekit.evaluation.aggregate_posterior import LatentPool, latents_measure
from vaekit.evaluation.code_use import HasCodes
from vaekit.evaluation.evaluate import Evaluation, EvaluationData, Measures, evaluate, no_progress, results_as_json
from vaekit.evaluation.journal import Item
from vaekit.evaluation.latent_equivariance import equivariance_measure, usable_transforms
from vaekit.evaluation.latent_paths import (
    GHOST,
    JUMP,
    PPL,
    RATIO,
    TURN,
    LatentPairs,
    interpolation_measure,
    length_measure,
    path_measure,
)
from vaekit.evaluation.latent_spectrum import DATA_SLOPE, EXCESS, NO_MAP, SLOPE, SpectrumPool, spectrum_measure
from vaekit.evaluation.latent_store import LatentStore
from vaekit.evaluation.measures import PooledMeasure, Result
from vaekit.evaluation.perception import Perception
from vaekit.evaluation.protocol import MODE, Protocol, chosen_names
from vaekit.evaluation.vae_pass import VAERunner
from vaekit.geometry import Geometry
from vaekit.json import dumps
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

PATHS = 128
"""Items whose paths and equivariance are measured: each takes 15 runs of the decoder and 4 of the encoder."""
RESULT = "latent_space.json"
CODES = "The codes of a quantizer cannot be interpolated."
TOO_SMALL = "No item has a finite value: they are too small, or constant."
EXACT = "fp32"
ROUNDED = f"Path lengths need {EXACT}: in lower precision, items a ten-thousandth of a path apart differ by rounding."
TOKENS = "There is no distance between items of this domain along a path."


@dataclass(frozen=True)
class LatentSpace:
    """The measures of a latent space. There is no overall score."""

    results: tuple[Result, ...]
    not_measured: Mapping[str, str]
    """Reasons, by name of the quantity."""
    warnings: tuple[str, ...]
    measured: int
    """The number of encoded items."""
    skipped: tuple[Item, ...]
    curves: Mapping[str, Any] = field(default_factory=dict)
    """`spectrum`: frequency, latents, data; `channels`: mean, std, skewness, kurtosis of each."""
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    """By the name of the pass."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; `vaekit.json` writes them."""
        return {
            "results": results_as_json(self.results),
            "not_measured": dict(self.not_measured),
            "warnings": list(self.warnings),
            "measured": self.measured,
            "skipped": [{"name": item.name, "reason": item.error} for item in self.skipped],
            "curves": dict(self.curves),
            "protocols": {name: protocol.as_json() for name, protocol in self.protocols.items()},
        }


@dataclass(eq=False)
class Passes:
    """The passes over the data so far, and their results."""

    runner: VAERunner
    read: Callable[[str], Tensor]
    base: Protocol
    out: Path | None
    device: torch.device
    progress: Callable[[int, int], None]
    results: list[Result] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    protocols: dict[str, Protocol] = field(default_factory=dict)

    def run(self, name: str, names: list[str], measures: Measures, partners: int = 0) -> Evaluation:
        """Run a pass over some items, and collect its results.

        Args:
            name: of the pass, and of its folder.
            names: of the items.
            measures: of the pass.
            partners: the number of latents that items are interpolated with.

        Raises:
            NothingEvaluated: no item could be measured.
        """
        settings = measures.settings() | ({"partners": {"data": self.base.data, "items": partners}} if partners else {})
        protocol = replace(self.base, items=len(names), latents=MODE, measures=settings)
        self.protocols[name] = protocol
        found = evaluate(
            self.runner,
            EvaluationData(names, self.read),
            measures,
            protocol,
            None if self.out is None else self.out / name,
            device=self.device,
            progress=self.progress,
        )
        self.results += found.results
        self.not_measured |= found.not_measured
        self.warnings += found.warnings
        return found

    def attempt(
        self,
        name: str,
        names: list[str],
        measures: Measures,
        quantities: list[str],
        trouble: str = "",
        partners: int = 0,
    ) -> None:
        """Run a pass, unless there is trouble; a pass without a single measured item is noted, not raised."""
        if not trouble:
            try:
                skipped = self.run(name, names, measures, partners).skipped
                self.warnings += [f"{name}: {item.name} was left out: {item.error}" for item in skipped]
                return
            except NothingEvaluated as error:
                trouble = str(error)
        self.not_measured |= dict.fromkeys(quantities, trouble)


def measure_latent_space(
    vae: VAE,
    runner: VAERunner,
    data: EvaluationData,
    perception: Perception,
    protocol: Protocol,
    out: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = no_progress,
    paths: int = PATHS,
) -> LatentSpace:
    """Measure the latent space of a VAE on items.

    Args:
        vae: whole.
        runner: runs it; its results are not rounded.
        data: the items.
        perception: how the domain perceives items.
        protocol: of an evaluation of the same items; each pass has its own measures.
        out: the folder of results, which the same call resumes from; None to save nothing.
        device: of the items.
        progress: called with the number of items done and the total, for each pass.
        paths: the number of items whose paths and equivariance are measured.

    Raises:
        NothingEvaluated: no item could be encoded.
        ProtocolChanged: the folder holds an evaluation of another protocol.
        CannotWrite: the folder, or the temporary file of latents, cannot be written.
    """
    passes = Passes(runner, data.read, protocol, out, torch.device(device), progress)
    with closing(LatentStore()) as store:
        latents = LatentPool(vae.geometry.latent_channels, vae.geometry.axes, vae.normalization, store)
        spectra = SpectrumPool(vae.geometry.latent_channels)
        first = _first_pass(passes, vae.geometry, list(data.names), latents, spectra)
        skipped = {item.name for item in first.skipped}
        pairs = LatentPairs([name for name in data.names if name not in skipped], store)
        chosen = chosen_names(pairs.names, paths, protocol.seed)
        trouble = CODES if isinstance(vae.to_posterior, HasCodes) else pairs.trouble
        _equivariance(passes, vae.geometry, chosen)
        _interpolations(passes, pairs, perception, vae.normalization, trouble)
        _paths(passes, pairs, perception, chosen, trouble)
        curves = {"spectrum": dict(spectra.curves()), "channels": latents.channel_table()}
    space = LatentSpace(
        tuple(result for result in passes.results if result.count),
        passes.not_measured | {each.quantity.name: TOO_SMALL for each in passes.results if not each.count},
        tuple(dict.fromkeys(passes.warnings)),
        first.measured,
        first.skipped,
        curves,
        passes.protocols,
    )
    if out is not None:
        with atomic_file(out / RESULT) as part:
            part.write_text(dumps(space.as_json()) + "\n", "utf-8")
    return space


def _first_pass(
    passes: Passes, geometry: Geometry, names: list[str], latents: LatentPool, spectra: SpectrumPool
) -> Evaluation:
    """Encode all items."""
    pooled = [latents_measure(latents)]
    if geometry.axes == 2:
        pooled.append(spectrum_measure(spectra))
    else:
        passes.not_measured |= dict.fromkeys((SLOPE.name, DATA_SLOPE.name, EXCESS.name), NO_MAP)
    return passes.run("latents", names, Measures((), tuple(pooled)))


def _equivariance(passes: Passes, geometry: Geometry, names: list[str]) -> None:
    """Measure transforms of a subset of the items."""
    transforms, reasons = usable_transforms(geometry)
    passes.not_measured |= reasons
    if transforms:
        measures = Measures((equivariance_measure(geometry, transforms),))
        passes.attempt("equivariance", names, measures, ["equivariance"])


def _interpolations(
    passes: Passes,
    pairs: LatentPairs,
    perception: Perception,
    normalization: LatentNormalization | None,
    trouble: str,
) -> None:
    """Decode the middles between neighbors, and samples of N(0, I)."""
    features = perception.features
    if features is None:
        passes.not_measured["ifid"] = perception.missing.get("features", "There are no features of these items.")
        return
    measures = Measures((), (interpolation_measure(pairs, features, normalization),))
    names = [each.name for each in features.quantities]
    passes.attempt("interpolations", list(pairs.names), measures, names, trouble, len(pairs.names))


def _paths(passes: Passes, pairs: LatentPairs, perception: Perception, names: list[str], trouble: str) -> None:
    """Decode paths between random pairs, as far as the domain has distances for them."""
    shapes = [each.name for each in (RATIO, TURN, JUMP, GHOST)]
    items = (path_measure(pairs),) if perception.metric else ()
    if not perception.metric:
        passes.not_measured |= dict.fromkeys(shapes, TOKENS)
        shapes = []
    pooled: tuple[PooledMeasure, ...] = ()
    if perception.distance is None:
        passes.not_measured[PPL.name] = perception.missing.get("distance", TOKENS)
    elif passes.base.run.get("dtype", EXACT) != EXACT:
        passes.not_measured[PPL.name] = ROUNDED
    else:
        pooled = (length_measure(pairs, perception.distance),)
        shapes.append(PPL.name)
    if shapes:
        passes.attempt("paths", names, Measures(items, pooled), shapes, trouble, len(pairs.names))
