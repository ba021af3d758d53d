"""Check that every latent channel carries information and that the decoder uses it."""

import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, Quantized
from vaekit.distributions.mixed import GaussianAndCategoricals
from vaekit.doctor.findings import Finding, Status, skipped
from vaekit.doctor.observe import Observation
from vaekit.errors import counted

DEAD, FAINT = 1e-3, 0.05
"""Standard deviation of a channel relative to the median of all, below which it is dead or faint. The minimum over
TAESD, TAESD3, TAEF2, TAESANA and the built-in VAE is 0.7."""
COLLAPSED = 0.01
"""KL in nats per position below which a channel is uninformative: its posterior is the prior (active units: Burda,
Grosse, Salakhutdinov 2016, arXiv 1509.00519, section 5.3 use the same value for the variance of the mean)."""
DOMINANT = 0.8
"""Share of the total variance from which a channel dominates."""
IGNORED = 1e-4
"""Effect on the image relative to the median effect, below which the decoder ignores a channel."""
POSITIONS = 8
"""Side, in latent positions, of the crop with which the effect of channels is measured."""


def check_channels(observation: Observation) -> Finding:
    """The standard deviation and KL of each channel over the images, and its effect on the decoded image."""
    latents = observation.latents
    if observation.one_size:
        return _of_vector(observation)
    stds = latents.transpose(0, 1).flatten(1).std(dim=1)
    share = stds.square() / stds.square().sum().clamp_min(1e-30)
    effects = channel_effects(observation, stds)
    values: dict[str, object] = {"stds": stds.tolist(), "variance_shares": share.tolist(), "effects": effects}
    kl = channel_kl(observation)
    values["kl_nats_per_position"] = kl
    if isinstance(observation.posterior, Quantized):
        values["codes_used"] = len(observation.posterior.codes.unique())
    from_encoder = observation.posterior is not None
    relative = stds / stds.median().clamp_min(1e-30)
    dead = _where(relative < DEAD) if from_encoder else []
    collapsed = [c for c, nats in enumerate(kl or ()) if nats < COLLAPSED and c not in dead]
    faint = [c for c in _where(relative < FAINT) if c not in dead and c not in collapsed] if from_encoder else []
    # A channel that is constant has no measurable effect.
    live = [c for c in range(len(stds)) if c not in dead]
    middle = float(torch.tensor([effects[c] for c in live]).median()) if effects and live else 0.0
    ignored = [c for c in live if effects[c] <= IGNORED * middle] if effects else []
    values |= {"dead": dead, "collapsed": collapsed, "faint": faint, "ignored_by_decoder": ignored}
    return _of_map(values, stds, share, from_encoder)


def _of_map(values: dict[str, object], stds: Tensor, share: Tensor, from_encoder: bool) -> Finding:
    """The finding for a latent map."""
    count = len(stds)
    faults = {
        "the encoder's output is constant in": values["dead"],
        "the decoder ignores": values["ignored_by_decoder"],
    }
    doubts = {
        "the posterior is uninformative (KL near 0) in": values["collapsed"],
        "much smaller than the others:": values["faint"],
    }
    problems = [f"{what} {_channels(which)}" for what, which in (faults | doubts).items() if which]
    top = int(share.argmax())
    dominates = from_encoder and count > 1 and share[top].item() > DOMINANT
    if dominates:
        problems.append(f"channel {top} has {share[top].item():.0%} of the variance")
    status: Status = "wrong" if any(faults.values()) else "warning" if problems else "ok"
    if status == "ok":
        low, high = stds.min().item(), stds.max().item()
        if not from_encoder:
            return Finding(
                "channels", "ok", f"the decoder uses {'all ' * (count > 1)}{counted(count, 'channel')}", values
            )
        largest = f"the largest share of the variance is {share[top].item():.0%}" if count > 1 else ""
        active = f"all {count} channels are active" if count > 1 else "its channel is active"
        message = f"{active}: std {low:.2g} to {high:.2g}; {largest}".removesuffix("; ")
        return Finding("channels", "ok", message, values)
    remedy = (
        "The VAE was trained with empty channels, or its weights are damaged: compare with another copy."
        if status == "wrong"
        else "Normalize each channel by its own mean and standard deviation, or fine-tune with a lower KL weight."
    )
    return Finding("channels", status, "; ".join(problems), values, remedy)


def _of_vector(observation: Observation) -> Finding:
    """The finding for a latent vector: the KL term deactivates elements that the data do not need. Categorical
    variables are ignored: an unused category is not dead."""
    kl = channel_kl(observation)
    if kl is None:
        return skipped("channels", "latent usage is only known for encoders with Gaussian posteriors")
    silent = [c for c, nats in enumerate(kl) if nats < COLLAPSED]
    values = {"kl_nats_per_position": kl, "collapsed": silent}
    message = f"{len(kl) - len(silent)} of {len(kl)} latent values are in use"
    if not silent:
        return Finding("channels", "ok", message, values)
    uninformative = f"{message}; {_channels(silent)} are uninformative (KL near 0)"
    if len(silent) < len(kl):
        return Finding("channels", "ok", f"{uninformative}, as expected if the data do not need them", values)
    remedy = "The posterior has collapsed: train with a lower KL weight, free bits, or KL warm-up."
    return Finding("channels", "wrong", uninformative, values, remedy)


def channel_kl(observation: Observation) -> list[float] | None:
    """The KL of each channel to N(0, 1), in nats per position; None unless the posterior is Gaussian.

    KL_c = mean over images and positions of (mean^2 + variance - 1 - ln variance) / 2
    """
    posterior = observation.posterior
    if isinstance(posterior, GaussianAndCategoricals):
        posterior = posterior.gaussian
    if not isinstance(posterior, DiagonalGaussian):
        return None
    mean, log_variance = posterior.mean.double(), posterior.log_variance.double()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return kl.transpose(0, 1).flatten(1).mean(dim=1).tolist()


def channel_effects(observation: Observation, stds: Tensor) -> list[float]:
    """The effect of each channel on the decoded image, relative to the largest; empty without a decoder.

    The root mean square of the gradient of a random projection of the image, times the channel's standard deviation:
    the first-order effect of all channels in one backward pass, on a crop of one latent.
    """
    if observation.vae.decoder is None:
        return []
    window = (slice(1), slice(None), *[slice(POSITIONS)] * (observation.latents.dim() - 2))
    z = observation.latents[window].clone()
    with torch.enable_grad():
        z.requires_grad_()
        parameters = observation.vae.decoder(z)
        projection = torch.randn(parameters.shape, generator=torch.Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad((parameters * projection).sum(), z)
    effects = gradient.square().transpose(0, 1).flatten(1).mean(dim=1).sqrt() * stds
    return (effects / effects.max().clamp_min(1e-30)).tolist()


def _where(mask: Tensor) -> list[int]:
    return mask.nonzero().flatten().tolist()


def _channels(which: object) -> str:
    """Channels by number, as a phrase."""
    assert isinstance(which, list)
    values = ", ".join(str(c) for c in which[:8]) + (f" and {len(which) - 8} more" if len(which) > 8 else "")
    return f"channel{'s' if len(which) > 1 else ''} {values}"
