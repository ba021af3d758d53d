"""Measures of excerpts and their reconstructions."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import before_padding
from vaekit.domains.music.properties import histogram_overlap, note_density, same_steps
from vaekit.domains.music.schema import MusicSchema
from vaekit.domains.token_measures import likelihood_of
from vaekit.evaluation.measures import ItemMeasure
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure

ACCURACY = Measure(
    "step_accuracy",
    "step accuracy",
    "",
    "higher",
    "Share of the tokens of steps that come back at their places; the meter and the end do not count.",
)
EXACT = Measure("exact_match", "exact match", "", "higher", "Share of excerpts that come back without an error.")
PITCHES = Measure(
    "pitch_overlap",
    "pitch overlap",
    "",
    "higher",
    "Overlap of the histograms of pitch classes, weighted by duration, of excerpts and reconstructions.",
)
DENSITY = Measure(
    "density_error",
    "density error",
    "notes per quarter",
    "lower",
    "Absolute difference of the number of notes per quarter note.",
)
FORCED = Measure(
    "teacher_forced_accuracy",
    "teacher-forced accuracy",
    "",
    "higher",
    "Share of the tokens of steps that are the most probable ones, given the latent and the true tokens before them.",
)


@dataclass(frozen=True)
class ExcerptErrors:
    """The measures of reconstructions, as a function of a batch; see `ItemMeasure`."""

    schema: MusicSchema

    def __call__(self, vae_pass: VAEPass) -> Mapping[str, Tensor]:
        before, after = (self.schema.to_items(x) for x in (vae_pass.x, vae_pass.result))
        pairs = list(zip(before, after, strict=True))
        return {
            ACCURACY.name: share_of_steps(self.schema, vae_pass.x, vae_pass.result == vae_pass.x),
            EXACT.name: torch.tensor([float(same_steps(*pair) == 1) for pair in pairs]),
            PITCHES.name: torch.tensor([histogram_overlap(*pair) for pair in pairs]),
            DENSITY.name: torch.tensor([abs(note_density(one) - note_density(other)) for one, other in pairs]),
        }


def excerpt_errors(schema: MusicSchema) -> ItemMeasure:
    """Accuracy of steps, exact matches, pitches and density of reconstructions."""
    return ItemMeasure((ACCURACY, EXACT, PITCHES, DENSITY), ExcerptErrors(schema))


def share_of_steps(schema: MusicSchema, x: Tensor, hits: Tensor) -> Tensor:
    """The share of hits (b, t) among the tokens of steps of sequences (b, t): (b,)."""
    counted = before_padding(x).clone()
    counted[:, : schema.lead] = False
    counted &= x != 0
    return ((hits & counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)).cpu().float()


def teacher_forced(schema: MusicSchema) -> ItemMeasure:
    """The accuracy of the next token."""

    @torch.no_grad()
    def compute(vae_pass: VAEPass) -> Mapping[str, Tensor]:
        likelihood = likelihood_of(vae_pass)
        assert isinstance(likelihood, AutoregressiveCategorical)
        x = vae_pass.x.to(likelihood.context.device)
        best = likelihood.model.logits(likelihood.model.hidden(likelihood.context, x[:, :-1])).argmax(dim=-1)
        return {FORCED.name: share_of_steps(schema, x, best == x)}

    return ItemMeasure((FORCED,), compute)
