"""The adversary of a VAE of images: a discriminator between data and reconstructions (Goodfellow et al. 2014).

An untrained discriminator with the full adversarial weight is known to ruin reconstructions
(CompVis/taming-transformers, issues 44 and 129). Here the discriminator is trained alone first, the adversarial weight
then rises linearly from 0, and `rollback_guard.py` watches reconstructions. LDM's schedule is the special case
`pull_from` = `learn_from`, `ramp` = 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

from vaekit.errors import BadRecipe
from vaekit.nets.discriminator import Discriminator, renew
from vaekit.training.objectives import Losses, Objective
from vaekit.training.processes import ProcessGroup
from vaekit.training.state import Stateful, inside, optimizer_tensors, restore_optimizer
from vaekit.training.weights import Weight
from vaekit.vae import VAE

COMPILED = "CompiledFunction"
"""Part of the name of an autograd node of a compiled module."""
DELTA = 1e-6
"""The constant in VQGAN's eq. 7."""


@dataclass(frozen=True)
class Adversarial:
    """The table [adversarial] of a recipe: schedule, losses and weights."""

    learn_from: int
    """Samples after which the discriminator is trained. Before that, it is not computed."""
    pull_from: int
    """Samples after which the adversarial loss is added to that of the VAE."""
    ramp: int = 0
    """Samples over which its weight then rises linearly from 0 to `weight`."""
    weight: float = 0.5
    """Weight of the adversarial loss. With `adaptive`, relative to the gradient of the other terms."""
    adaptive: bool = True
    """Whether the weight is multiplied by |gradient of fidelity| / (|gradient of the adversarial loss| + 1e-6), both
    with respect to the decoder's last layer (Esser et al. 2021, arXiv 2012.09841, eq. 7)."""
    largest: float = 1e4
    """The maximum of this factor. The default is VQGAN's, whose losses are means as here; LDM has the same value for
    losses that are sums over an image, which is equivalent to 0.05 for 3x256x256 values."""
    loss: str = "hinge"
    """"hinge" (Lim & Ye 2017, arXiv 1705.02894) or "non-saturating" (Goodfellow et al. 2014, arXiv 1406.2661)."""
    learning_rate: float = 1e-4
    """Of the discriminator; constant."""
    betas: tuple[float, float] = (0.5, 0.9)
    """Of the discriminator's AdamW."""
    r1: float = 0.0
    """The weight gamma of the R1 penalty (Mescheder et al. 2018, arXiv 1801.04406, eq. 9)."""
    r1_every: int = 16
    """The penalty is computed every `r1_every` steps, and multiplied by `r1_every` (lazy regularization: Karras et al.
    2020, arXiv 1912.04958, appendix B)."""
    lecam: float = 0.0
    """Weight of LeCam regularization (Tseng et al. 2021, arXiv 2104.03310)."""
    memory: float = 0.99
    """Decay per step of the moving averages of the logits, which LeCam and `earned` use."""
    earned: bool = False
    """Whether the weight is also multiplied by the confidence of the discriminator: half the difference between its
    average logits of data and of reconstructions, clamped to [0, 1]. The gradient of a discriminator without
    information has a direction too, and an adaptive weight scales it up like any other. Half, since the hinge loss is
    0 from logits of 1 and -1 on."""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"unknown loss {self.loss!r}; expected one of {', '.join(LOSSES)}")
        if not 0 <= self.learn_from <= self.pull_from or self.ramp < 0:
            raise ValueError("learn_from must be at least 0, pull_from at least learn_from, and ramp at least 0")
        if min(self.weight, self.largest, self.r1, self.lecam, self.learning_rate) < 0 or self.r1_every < 1:
            raise ValueError("weights and rates must be at least 0, and r1_every at least 1")

    def weight_at(self, samples: int) -> float:
        """The weight after `samples` samples, without the adaptive factor; 0 before `pull_from`."""
        if samples < self.pull_from:
            return 0.0
        ends = ((self.pull_from, 0.0), (self.pull_from + self.ramp, self.weight))
        return Weight(ends).at(samples) if self.ramp else self.weight


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The hinge loss of the discriminator: (E max(0, 1 - D(x)) + E max(0, 1 + D(G))) / 2, the half as in VQGAN."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """The hinge loss of the VAE: -E D(G)."""
    return -fake.mean()


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """The non-saturating loss of the discriminator: (E -log sigmoid(D(x)) + E -log(1 - sigmoid(D(G)))) / 2."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """The non-saturating loss of the VAE: E -log sigmoid(D(G))."""
    return F.softplus(-fake).mean()


LOSSES: Mapping[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "hinge": (hinge, hinge_generator_loss),
    "non-saturating": (cross_entropy, non_saturating_generator_loss),
}


def r1_penalty(net: nn.Module, x: Tensor) -> Tensor:
    """E |d D / d x|^2 / 2 over data x (b, ...), where D is the sum of an item's logits divided by the square root of
    their number: the penalty of Mescheder et al. for one logit, and about independent of the number of patches."""
    x = x.detach().requires_grad_()
    logits = net(x)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean() / logits[0].numel()


def lecam_penalty(real: Tensor, fake: Tensor, anchors: Tensor) -> Tensor:
    """E (D(x) - a_fake)^2 + E (D(G) - a_real)^2, with moving averages (a_real, a_fake) of the logits."""
    return (real - anchors[1]).square().mean() + (fake - anchors[0]).square().mean()


def last_layer(decoder: nn.Module, result: Tensor) -> Tensor:
    """The trained weight of a decoder that is closest to its output in the autograd graph. Only matrices and kernels
    count as layers, not biases or the scales of norms.

    Neither names nor the order of registration identify it for every family: some register a branch after the last
    layer. A compiled decoder is a single node of the graph, equally close to all weights.

    Args:
        decoder: the decoder.
        result: its output, with a graph.

    Raises:
        BadRecipe: the decoder is frozen or compiled.
    """
    weights = {id(each) for each in decoder.parameters() if each.dim() > 1}
    level: list[Any] = [result.grad_fn]
    visited = set(level)
    while any(level):
        for node in level:
            if id(getattr(node, "variable", None)) in weights:
                return node.variable
        if any(node is not None and COMPILED in node.name() for node in level):
            break
        children = dict.fromkeys(child for node in level if node is not None for child, _ in node.next_functions)
        level = [node for node in children if node not in visited]
        visited.update(level)
    raise BadRecipe(
        "An adaptive adversarial weight requires a decoder that is neither frozen nor compiled.",
        "",
        "Set adversarial.adaptive=false, or schedule.compiled=false.",
    )


def no_gradient_error() -> BadRecipe:
    """The error for an adaptive weight without another gradient to compare with."""
    return BadRecipe(
        "An adaptive adversarial weight requires a decoder, and a term that depends on its output.",
        "",
        "Set adversarial.adaptive=false.",
    )


class Adversary(Stateful):
    """The discriminator, its optimizer and its state between steps.

    It runs in the dtype of its net, fp32, under any autocast of the VAE: it takes about 1 % of the time, and is where
    other trainers get NaN.

    The adaptive factor of a step is measured over the whole previous step, all micro-batches and processes together,
    so that it does not depend on how a batch is divided. The usual factor of each micro-batch does. The first step
    after `pull_from` only measures.

    Args:
        config: schedule, losses and weights.
        net: the discriminator: images (b, c, h, w) -> logits (b, ...).
    """

    def __init__(self, config: Adversarial, net: Discriminator) -> None:
        self.config, self.net = config, net
        self.optimizer = AdamW(net.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=0.0)
        first = next(net.parameters())
        self.dtype, device = first.dtype, first.device
        self.strength = 1.0
        """A factor of the weight; halved at each rollback of the guard."""
        self.steps = 0
        """The number of steps of the discriminator."""
        self.balance = torch.zeros((), device=device)
        """The adaptive factor; 0 until it is measured."""
        self.anchors = torch.zeros(2, device=device)
        """Moving averages of the logits of data and of reconstructions."""
        self.forget()

    def forget(self) -> None:
        """Discard what was accumulated since the last step."""
        self.optimizer.zero_grad(set_to_none=True)
        self.gradients: list[Tensor] = []
        self.mean_logits = torch.zeros_like(self.anchors)

    def check(self, objective: Objective) -> None:
        """Reject an objective without a gradient for the adaptive weight, before training starts.

        Raises:
            BadRecipe: at `pull_from`, all terms on reconstructions have a weight of zero.
        """
        start = self.config.pull_from
        names = [name for name, term in objective.terms.items() if not term.latents_only]
        if self.config.adaptive and not any(objective.weights[name].at(start) for name in names):
            raise no_gradient_error()

    def generator_loss(self, losses: Losses, vae: VAE, samples: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to add to the total, and values to log.

        The loss has the gradient of the weighted adversarial loss; its value has no meaning. The discriminator is
        differentiated once, with respect to its input only, so that its own gradients do not change.

        Raises:
            BadRecipe: there is no gradient to measure an adaptive weight against.
        """
        if samples < self.config.pull_from:
            return torch.zeros((), device=losses.total.device), {}
        result = losses.forward.result
        detached = result.detach().to(self.dtype).requires_grad_()
        loss = LOSSES[self.config.loss][1](self.net(detached))
        (gradient,) = torch.autograd.grad(loss, detached)
        surrogate = (result.to(self.dtype) * gradient).sum()
        weight = torch.as_tensor(self.strength * self.config.weight_at(samples), device=gradient.device)
        if self.config.adaptive:
            weight = weight * self.balance
            self._measure(losses, surrogate, vae)
        if self.config.earned:
            weight = weight * ((self.anchors[0] - self.anchors[1]) / 2).clamp(0, 1)
        return weight * surrogate, {"adversarial": loss.detach(), "adversarial_weight": weight}

    def _measure(self, losses: Losses, surrogate: Tensor, vae: VAE) -> None:
        """Accumulate the gradients of fidelity and of the adversarial loss at the decoder's last layer."""
        if vae.decoder is None or not losses.fidelity.requires_grad:
            raise no_gradient_error()
        last = last_layer(vae.decoder, losses.forward.result)
        both = (losses.fidelity, surrogate)
        new = [torch.autograd.grad(each, last, retain_graph=True)[0].to(self.dtype) for each in both]
        self.gradients = [a + b for a, b in zip(self.gradients, new, strict=True)] if self.gradients else new

    def collect(self, losses: Losses, share: float, samples: int) -> dict[str, Tensor]:
        """Accumulate the discriminator's gradients for a micro-batch with this share of a step; returns logs."""
        if samples < self.config.learn_from:
            return {}
        x, result = (each.detach().to(self.dtype) for each in (losses.forward.x, losses.forward.result))
        real, fake = self.net(torch.cat([x, result])).chunk(2)
        loss = plain = LOSSES[self.config.loss][0](real, fake)
        if self.config.lecam and self.steps:
            loss = loss + self.config.lecam * lecam_penalty(real, fake, self.anchors)
        if self.config.r1 and self.steps % self.config.r1_every == 0:
            loss = loss + self.config.r1 * self.config.r1_every * r1_penalty(self.net, x)
        (share * loss).backward()
        means = torch.stack([real.detach().mean(), fake.detach().mean()])
        self.mean_logits += share * means
        return {"discriminator": plain.detach(), "logits_real": means[0], "logits_fake": means[1]}

    def step(self, processes: ProcessGroup, samples: int) -> None:
        """Take an optimizer step with the accumulated gradients. A step with non-finite gradients is skipped."""
        if self.gradients:
            processes.sum_(self.gradients)
            fidelity, adversarial = (gradient.norm() for gradient in self.gradients)
            self.balance = (fidelity / (adversarial + DELTA)).clamp(max=self.config.largest)
        if samples >= self.config.learn_from:
            processes.sum_gradients(self.net)
            processes.sum_([self.mean_logits])
            gradients = [each.grad for each in self.net.parameters() if each.grad is not None]
            if torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
                self.optimizer.step()
                renew(self.net)
                decay = self.config.memory if self.steps else 0.0
                self.anchors = torch.lerp(self.mean_logits, self.anchors, decay)
                self.steps += 1
        self.forget()

    def tensors(self) -> dict[str, Tensor]:
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        return tensors | {"balance": self.balance, "anchors": self.anchors}

    def values(self) -> dict[str, Any]:
        return {"steps": self.steps, "strength": self.strength}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self.net.load_state_dict(inside(tensors, "net"))
        restore_optimizer(self.optimizer, inside(tensors, "optimizer"))
        self.balance = tensors["balance"].to(self.balance.device)
        self.anchors = tensors["anchors"].to(self.anchors.device)
        self.steps, self.strength = int(values["steps"]), float(values["strength"])
        self.forget()
