"""The latent spaces of compared VAEs, measured on the same images, beside reconstructions in a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vaekit.comparison.candidates import CorrectedCandidate, VAECandidate
from vaekit.comparison.image_sources import ImageSource
from vaekit.comparison.records import Estimate, MeasuredCandidate, Report
from vaekit.distributions import Likelihood, Posterior
from vaekit.domains.images.evaluate import SIZE, preparation, prepared
from vaekit.evaluation.evaluate import EvaluationData
from vaekit.evaluation.latent_space import LatentSpace, measure_latent_space
from vaekit.evaluation.perception import Perception
from vaekit.evaluation.protocol import MODE, Protocol
from vaekit.identification.fingerprint import fingerprint

GROUP = "latent space"


@dataclass(frozen=True, eq=False)
class CandidateRunner:
    """Runs a candidate: its encoder, and its decoder, which may be that of another VAE."""

    candidate: VAECandidate

    def encode(self, x: Tensor) -> Posterior:
        return self.candidate.encoder.encode(x)

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        height, width = like.shape[2:]
        return self.candidate.decode(z, (height, width))

    def likelihood(self, z: Tensor, like: Tensor) -> Likelihood:
        return self.candidate.decoder.likelihood(z, tuple(like.shape[2:]))


def latent_space_of(
    candidate: VAECandidate,
    sources: Sequence[ImageSource],
    perception: Perception,
    settings: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> LatentSpace:
    """Measure the latent space of a candidate on the middle squares of images.

    Raises:
        NothingEvaluated: none of the images can be encoded.
    """
    vae, read = candidate.encoder.vae, {source.name: source.read for source in sources}
    side = candidate.image_size or SIZE
    protocol = Protocol(
        vae=fingerprint(vae),
        data=", ".join(read),
        items=len(read),
        chosen="all",
        preparation=preparation(side, vae.geometry.channels),
        latents=MODE,
        seed=settings.get("seed") or 0,
        run={name: settings[name] for name in ("dtype", "device", "backend") if name in settings},
        batch=candidate.encoder.plan.batch_size,
        measures={},
    )
    data = EvaluationData(list(read), lambda name: prepared(read[name](), side, vae.geometry))
    device = candidate.encoder.plan.torch_device
    return measure_latent_space(
        vae, CandidateRunner(candidate), data, perception, protocol, device=device, progress=progress
    )


def measured_spaces(
    candidates: Sequence[object],
    sources: Sequence[ImageSource],
    perception: Perception,
    settings: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> dict[str, LatentSpace]:
    """The latent spaces of all candidates that have one of their own, by name."""
    return {
        each.name: latent_space_of(each, sources, perception, settings, progress)
        for each in candidates
        if isinstance(each, VAECandidate) and not isinstance(each, CorrectedCandidate)
    }


def with_latent_spaces(report: Report, spaces: Mapping[str, LatentSpace]) -> Report:
    """A report with the measures of latent spaces in a group of their own; they do not change the ranking."""
    if not spaces:
        return report
    quantities = {result.quantity.name: result.quantity for space in spaces.values() for result in space.results}
    measures = tuple(replace(quantity, group=GROUP, key=False) for quantity in quantities.values())
    first = next(iter(spaces.values()))
    networks = {
        name: measure
        for protocol in first.protocols.values()
        for name, measure in protocol.measures.items()
        if "weights" in measure or "features" in measure
    }
    facts = {"items": first.measured, "preparation": dict(next(iter(first.protocols.values())).preparation)}
    protocol = {**report.protocol, "latent_space": {**facts, "networks": networks}}
    candidates = tuple(_with_space(each, spaces.get(each.name)) for each in report.candidates)
    return replace(report, candidates=candidates, measures=(*report.measures, *measures), protocol=protocol)


def _with_space(candidate: MeasuredCandidate, space: LatentSpace | None) -> MeasuredCandidate:
    if space is None:
        return candidate
    estimates = {result.quantity.name: Estimate(result.value, result.low, result.high) for result in space.results}
    about = {"not_measured": dict(space.not_measured), "warnings": list(space.warnings)}
    return replace(
        candidate,
        measures={**candidate.measures, **estimates},
        about={**candidate.about, "latent_space": about},
        spectrum=space.curves["spectrum"],
    )
