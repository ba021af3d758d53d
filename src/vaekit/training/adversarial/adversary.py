"""An opponent for a VAE of images: a discriminator that learns to tell results from data (Goodfellow et al. 2014).

What ruins reconstructions is known (CompVis/taming-transformers, issues 44 and 129): the VAE is pulled at full strength
by a discriminator that has learned nothing yet. Here it learns first, the pull then grows from nothing, and
`guard.py` watches. LDM's plain schedule is the same with other numbers: `pull_from` = `learn_from`, `ramp` = 0.
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
"""In the name of a step of the graph that torch has compiled."""
DELTA = 1e-6
"""Of VQGAN's eq. 7."""


@dataclass(frozen=True)
class Adversarial:
    """When the opponent learns, when and how much it pulls: the table [adversarial] of a recipe."""

    learn_from: int
    """Samples after which the discriminator begins to learn. Before, nothing of it is computed."""
    pull_from: int
    """Samples after which the VAE begins to see it."""
    ramp: int = 0
    """Samples over which the pull then grows from nothing to `weight`."""
    weight: float = 0.5
    """Of the pull. With `adaptive`, in units of the pull of fidelity."""
    adaptive: bool = True
    """Whether the weight is multiplied by |gradient of fidelity| / (|gradient of the adversarial loss| + 1e-6), both at
    the decoder's last layer (Esser et al. 2021, arXiv 2012.09841, eq. 7)."""
    largest: float = 1e4
    """That factor at most. VQGAN's number, whose losses are means as ours are; LDM has the same number for losses that
    are sums over an image, so there it is smaller by the number of values: 0.05 for 3x256x256."""
    loss: str = "hinge"
    """"hinge" (Lim & Ye 2017, arXiv 1705.02894) or "non-saturating" (Goodfellow et al. 2014, arXiv 1406.2661)."""
    learning_rate: float = 1e-4
    """Of the discriminator; constant."""
    betas: tuple[float, float] = (0.5, 0.9)
    r1: float = 0.0
    """gamma of R1 (Mescheder et al. 2018, arXiv 1801.04406, eq. 9)."""
    r1_every: int = 16
    """Steps between two that have the penalty, which then counts so many times (Karras et al. 2020, arXiv 1912.04958,
    appendix B)."""
    lecam: float = 0.0
    """Weight of LeCam regularization (Tseng et al. 2021, arXiv 2104.03310)."""
    memory: float = 0.99
    """Decay, in steps, of the averages of what the discriminator says, which LeCam draws to and `earned` looks at."""
    earned: bool = False
    """Whether the weight is also multiplied by how well the discriminator tells data from results: half the distance
    of its average logits, from 0 to 1. What cannot tell yet has a direction all the same, and an adaptive weight makes
    that count as much as any other. Half, as hinge is content with logits of 1 and -1."""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss {self.loss!r} is none of {', '.join(LOSSES)}")
        if not 0 <= self.learn_from <= self.pull_from or self.ramp < 0:
            raise ValueError("learn_from, then pull_from, then the ramp: none before the one before it")
        if min(self.weight, self.largest, self.r1, self.lecam, self.learning_rate) < 0 or self.r1_every < 1:
            raise ValueError("weights and rates are not negative, and r1_every is 1 or more")

    def weight_at(self, samples: int) -> float:
        """After so many samples, before it is adapted; 0 until `pull_from`."""
        if samples < self.pull_from:
            return 0.0
        ends = ((self.pull_from, 0.0), (self.pull_from + self.ramp, self.weight))
        return Weight(ends).at(samples) if self.ramp else self.weight


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimizes: (E max(0, 1 - D(x)) + E max(0, 1 + D(G))) / 2, the half as in VQGAN."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """What the VAE minimizes: -E D(G)."""
    return -fake.mean()


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """(E -log sigmoid(D(x)) + E -log(1 - sigmoid(D(G)))) / 2."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def non_saturating_generator_loss(fake: Tensor) -> Tensor:
    """E -log sigmoid(D(G))."""
    return F.softplus(-fake).mean()


LOSSES: Mapping[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "hinge": (hinge, hinge_generator_loss),
    "non-saturating": (cross_entropy, non_saturating_generator_loss),
}


def r1_penalty(net: nn.Module, x: Tensor) -> Tensor:
    """E |d D / d x|^2 / 2 over data (b, ...), of the sum of an item's logits divided by the root of their number: that
    of Mescheder et al. for one logit, and about the same for patches of images of any size."""
    x = x.detach().requires_grad_()
    logits = net(x)
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return 0.5 * slope.square().flatten(1).sum(dim=1).mean() / logits[0].numel()


def lecam_penalty(real: Tensor, fake: Tensor, anchors: Tensor) -> Tensor:
    """E (D(x) - a_fake)^2 + E (D(G) - a_real)^2, with the averages (a_real, a_fake) of what it said before."""
    return (real - anchors[1]).square().mean() + (fake - anchors[0]).square().mean()


def last_layer(decoder: nn.Module, result: Tensor) -> Tensor:
    """The trained weight of a decoder that is nearest to its result, counted along the graph that made the result; of
    the weights, those that are matrices or kernels, as biases and scales of norms are no layers.

    No name and no order of registration tells it for every family: some register a branch behind the last layer. A
    compiled decoder is one step of the graph, from which all weights are equally near.

    Raises:
        BadRecipe: there is none, as the decoder is frozen, or it cannot be told, as the decoder is compiled.
    """
    weights = {id(each) for each in decoder.parameters() if each.dim() > 1}
    level: list[Any] = [result.grad_fn]
    known = set(level)
    while any(level):
        for node in level:
            if id(getattr(node, "variable", None)) in weights:
                return node.variable
        if any(node is not None and COMPILED in node.name() for node in level):
            break
        following = dict.fromkeys(after for node in level if node is not None for after, _ in node.next_functions)
        level = [node for node in following if node not in known]
        known.update(level)
    raise BadRecipe(
        "An adaptive adversarial weight needs a decoder that is trained, and not compiled.",
        "",
        "Set adversarial.adaptive=false, or schedule.compiled=false.",
    )


def no_gradient_error() -> BadRecipe:
    """The error for an adaptive weight that has nothing to be measured against."""
    return BadRecipe(
        "An adaptive adversarial weight needs a decoder, and a term that looks at its results.",
        "",
        "Set adversarial.adaptive=false.",
    )


class Adversary(Stateful):
    """The opponent: its net, optimizer, and what it knows from step to step.

    It computes in its net's dtype, fp32, under any autocast of the VAE: it is about a hundredth of the work, and where
    others' trainers get NaN.

    The adaptive factor of a step is measured over the whole step before, all micro-batches and processes together. So
    it is that of the whole batch however the batch is divided; measured on each micro-batch, as is customary, it would
    be another for every division. The first step after `pull_from` only measures.
    """

    def __init__(self, config: Adversarial, net: Discriminator) -> None:
        self.config, self.net = config, net
        self.optimizer = AdamW(net.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=0.0)
        first = next(net.parameters())
        self.dtype, device = first.dtype, first.device
        self.strength = 1.0
        """By what the weight is multiplied; halved whenever a guard had to step in."""
        self.steps = 0
        """Of its own."""
        self.balance = torch.zeros((), device=device)
        """The adaptive factor; 0 until it was measured."""
        self.anchors = torch.zeros(2, device=device)
        """What it said of data and of results, on the average."""
        self.forget()

    def forget(self) -> None:
        """Keep nothing of what was collected within a step."""
        self.optimizer.zero_grad(set_to_none=True)
        self.slopes: list[Tensor] = []
        self.said = torch.zeros_like(self.anchors)

    def check(self, objective: Objective) -> None:
        """Refuse an objective that an adaptive weight cannot be measured against, before anything is trained.

        Raises:
            BadRecipe: no term looks at results when the VAE first sees its opponent.
        """
        start = self.config.pull_from
        looks = [name for name, term in objective.terms.items() if not term.of_latents]
        if self.config.adaptive and not any(objective.weights[name].at(start) for name in looks):
            raise no_gradient_error()

    def pull(self, losses: Losses, vae: VAE, samples: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What is to be added to the total, and numbers to be told.

        The tensor has the gradient of the weighted adversarial loss, and no meaning as a number: the discriminator is
        gone through backwards once, towards its input only, so its own gradients stay as they are.
        """
        if samples < self.config.pull_from:
            return torch.zeros((), device=losses.total.device), {}
        result = losses.seen.result
        shown = result.detach().to(self.dtype).requires_grad_()
        loss = LOSSES[self.config.loss][1](self.net(shown))
        (slope,) = torch.autograd.grad(loss, shown)
        pulled = (result.to(self.dtype) * slope).sum()
        weight = torch.as_tensor(self.strength * self.config.weight_at(samples), device=slope.device)
        if self.config.adaptive:
            weight = weight * self.balance
            self._measure(losses, pulled, vae)
        if self.config.earned:
            weight = weight * ((self.anchors[0] - self.anchors[1]) / 2).clamp(0, 1)
        return weight * pulled, {"adversarial": loss.detach(), "adversarial_weight": weight}

    def _measure(self, losses: Losses, pulled: Tensor, vae: VAE) -> None:
        if vae.decoder is None or not losses.fidelity.requires_grad:
            raise no_gradient_error()
        last = last_layer(vae.decoder, losses.seen.result)
        both = (losses.fidelity, pulled)
        found = [torch.autograd.grad(each, last, retain_graph=True)[0].to(self.dtype) for each in both]
        self.slopes = [a + b for a, b in zip(self.slopes, found, strict=True)] if self.slopes else found

    def collect(self, losses: Losses, share: float, samples: int) -> dict[str, Tensor]:
        """Add to its own gradients, for a micro-batch that is this share of a step; numbers to be told."""
        if samples < self.config.learn_from:
            return {}
        x, result = (each.detach().to(self.dtype) for each in (losses.seen.x, losses.seen.result))
        real, fake = self.net(torch.cat([x, result])).chunk(2)
        loss = told = LOSSES[self.config.loss][0](real, fake)
        if self.config.lecam and self.steps:
            loss = loss + self.config.lecam * lecam_penalty(real, fake, self.anchors)
        if self.config.r1 and self.steps % self.config.r1_every == 0:
            loss = loss + self.config.r1 * self.config.r1_every * r1_penalty(self.net, x)
        (share * loss).backward()
        means = torch.stack([real.detach().mean(), fake.detach().mean()])
        self.said += share * means
        return {"discriminator": told.detach(), "says_of_data": means[0], "says_of_results": means[1]}

    def step(self, processes: ProcessGroup, samples: int) -> None:
        """Take its own step with what was collected. A gradient that is not finite is passed over."""
        if self.slopes:
            processes.sum_(self.slopes)
            fidelity, pulled = (slope.norm() for slope in self.slopes)
            self.balance = (fidelity / (pulled + DELTA)).clamp(max=self.config.largest)
        if samples >= self.config.learn_from:
            processes.sum_gradients(self.net)
            processes.sum_([self.said])
            slopes = [each.grad for each in self.net.parameters() if each.grad is not None]
            if torch.isfinite(torch.nn.utils.get_total_norm(slopes)):
                self.optimizer.step()
                renew(self.net)
                decay = self.config.memory if self.steps else 0.0
                self.anchors = torch.lerp(self.said, self.anchors, decay)
                self.steps += 1
        self.forget()

    def tensors(self) -> dict[str, Tensor]:
        told = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        told |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        return told | {"balance": self.balance, "anchors": self.anchors}

    def words(self) -> dict[str, Any]:
        return {"steps": self.steps, "strength": self.strength}

    def restore(self, tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> None:
        self.net.load_state_dict(inside(tensors, "net"))
        restore_optimizer(self.optimizer, inside(tensors, "optimizer"))
        self.balance = tensors["balance"].to(self.balance.device)
        self.anchors = tensors["anchors"].to(self.anchors.device)
        self.steps, self.strength = int(words["steps"]), float(words["strength"])
        self.forget()
