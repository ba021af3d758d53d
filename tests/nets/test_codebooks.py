"""Codebooks that follow their data: by hand, over micro-batches and processes, and across a pause."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from threading import Barrier, Thread

import pytest
import torch
from torch import Generator, Tensor

from vaekit.nets.code_head import WINDOW
from vaekit.nets.codebooks import CodebookLearning, nearest, nearest_by_products
from vaekit.nets.quantizers import ResidualQuantizer
from vaekit.nets.vector_quantizer import CosineQuantizer, VectorQuantizer

ALONE = Generator()


def same(_: Iterable[Tensor]) -> None:
    """The sum over one process."""


def learning(**settings: object) -> CodebookLearning:
    return CodebookLearning(**{"first": "random", "revive_after": 0.0, **settings})  # type: ignore[arg-type]


def two_codes(settings: CodebookLearning) -> VectorQuantizer:
    head = VectorQuantizer(2, 1)
    with torch.no_grad():
        head.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    head.learn(settings)
    return head.train()


def numbers(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1)


def test_the_average_is_that_of_the_paper() -> None:
    head = two_codes(learning(decay=0.9))
    head(numbers(1.0, 2.0, 12.0))
    head.adapt(same, ALONE)
    # N = 0.9 * 1 + 0.1 * n, m = 0.9 * e + 0.1 * sum, from one vector of weight one at each code.
    first, second = (0.9 * 0 + 0.1 * 3) / (0.9 + 0.1 * 2), (0.9 * 10 + 0.1 * 12) / (0.9 + 0.1 * 1)
    torch.testing.assert_close(head.codebook, numbers(first, second), rtol=1e-6, atol=0)
    head(numbers(1.0))
    head.adapt(same, ALONE)
    sizes = 0.9 * (0.9 + 0.2) + 0.1, 0.9 * 1.0
    totals = 0.9 * 0.3 + 0.1 * 1.0, 0.9 * 10.2
    torch.testing.assert_close(head.codebook, numbers(totals[0] / sizes[0], totals[1] / sizes[1]), rtol=1e-6, atol=0)


def test_an_averaged_codebook_is_no_business_of_the_optimizer() -> None:
    assert not two_codes(learning()).codebook.requires_grad
    assert two_codes(learning(by="gradient")).codebook.requires_grad


def test_micro_batches_are_added_up() -> None:
    whole, parts = two_codes(learning()), two_codes(learning())
    x = torch.randn(12, 1, generator=Generator().manual_seed(0)) * 6
    whole(x)
    for part in x.split(4):
        parts(part)
    for head in (whole, parts):
        head.adapt(same, ALONE)
    torch.testing.assert_close(whole.codebook, parts.codebook)
    assert whole.recent is not None and parts.recent is not None
    assert torch.equal(whole.recent, parts.recent)


def test_nothing_is_learned_outside_training() -> None:
    head = two_codes(learning())
    before = head.codebook.clone()
    head.eval()(numbers(1.0))
    with torch.no_grad():
        head.train()(numbers(1.0))
    head.adapt(same, ALONE)
    assert torch.equal(head.codebook, before)
    assert head.recent is None


def test_the_first_codes_are_the_centers_of_clusters() -> None:
    torch.manual_seed(0)
    centers = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    data = (centers[:, None] + 0.1 * torch.randn(4, 50, 2)).flatten(0, 1)
    head = VectorQuantizer(4, 2).train()
    best = 0
    for seed in range(5):
        torch.manual_seed(seed)
        head.learn(CodebookLearning())
        head(data)
        head.adapt(same, ALONE)
        assert torch.equal(nearest(head.codebook.detach(), head.codebook.detach()), torch.arange(4))
        best = max(best, len(nearest(centers, head.codebook.detach()).unique()))
        assert head.learner is not None and head.learner.sizes is not None and head.learner.sizes.sum() == 200
    assert best == 4, "of five beginnings one at least finds all four clusters"


def test_the_first_codes_may_be_some_of_the_data() -> None:
    head = VectorQuantizer(3, 2).train()
    head.learn(CodebookLearning(first="data"))
    data = torch.randn(10, 2)
    head(data)
    head.adapt(same, ALONE)
    rows = {tuple(row) for row in data.tolist()}
    assert len({tuple(row) for row in head.codebook.tolist()} & rows) == 3


@pytest.mark.parametrize("by", ["average", "gradient"])
def test_a_code_that_nobody_uses_is_revived(by: str) -> None:
    head = two_codes(learning(by=by, revive_after=2.0))
    x = numbers(1.0, 2.0, 3.0)
    head(x)
    head.adapt(same, ALONE)
    assert head.codebook[1].item() == pytest.approx(10), "idle for three choices, and four are allowed"
    head(x)
    head.adapt(same, ALONE)
    assert head.codebook[1] in x
    assert head(head.codebook[1:].detach()).codes.tolist() == [1]


def test_residual_stages_begin_one_after_the_other_and_leave_less_and_less() -> None:
    torch.manual_seed(0)
    head = ResidualQuantizer(16, 3, stages=4).train()
    head.learn(CodebookLearning(decay=0.9))
    x = torch.randn(512, 3)
    for _ in range(30):
        q = head(x)
        for stage in head.stages:
            stage.adapt(same, ALONE)
    head.eval()
    q = head(x)
    assert q.codes.shape == (512, 4)
    left = [(x - partial(head, q.codes, stages)).square().mean().item() for stages in range(5)]
    assert all(after < 0.7 * before for before, after in pairwise(left))


def partial(head: ResidualQuantizer, codes: Tensor, stages: int) -> Tensor:
    parts = [stage.embed(codes[:, i]) for i, stage in enumerate(head.stages) if i < stages]
    return torch.stack(parts).sum(dim=0) if parts else torch.zeros(1)


def test_cosine_codes_are_directions() -> None:
    head = CosineQuantizer(3, 2).train()
    head.learn(learning())
    x = torch.randn(50, 2)
    q = head(x)
    torch.testing.assert_close(q.embedded.norm(dim=1), torch.ones(50))
    directions = torch.nn.functional.normalize(head.codebook, dim=1)
    assert torch.equal(q.codes, (x @ directions.T).argmax(dim=1))
    head.adapt(same, ALONE)
    assert torch.equal(head(3 * x).codes, head(x).codes)


def test_a_pause_changes_nothing() -> None:
    def run(head: VectorQuantizer, steps: range) -> None:
        for step in steps:
            x = torch.randn(40, 3, generator=Generator().manual_seed(step)) + 4 * (step > 5)
            torch.manual_seed(step)
            head(x)
            head.adapt(same, ALONE)

    def fresh() -> VectorQuantizer:
        torch.manual_seed(0)
        head = VectorQuantizer(12, 3).train()
        head.learn(CodebookLearning(revive_after=4.0), delay=1)
        return head

    whole = fresh()
    run(whole, range(12))
    for pause in (0, 1, 2, 7):
        before, after = fresh(), fresh()
        run(before, range(pause))
        after.load_state_dict(before.state_dict())
        after.restore({name: tensor.clone() for name, tensor in before.progress().items()})
        run(after, range(pause, 12))
        assert torch.equal(after.codebook, whole.codebook)
        assert all(torch.equal(tensor, whole.progress()[name]) for name, tensor in after.progress().items())


def together(count: int) -> list[Callable[[Iterable[Tensor]], None]]:
    """Sums over so many threads that stand for processes."""
    barrier = Barrier(count)
    given: list[list[Tensor]] = [[] for _ in range(count)]

    def sums(rank: int) -> Callable[[Iterable[Tensor]], None]:
        def sum_(tensors: Iterable[Tensor]) -> None:
            mine = list(tensors)
            given[rank] = [tensor.clone() for tensor in mine]
            barrier.wait()
            for i, tensor in enumerate(mine):
                tensor.copy_(torch.stack([each[i] for each in given]).sum(dim=0))
            barrier.wait()

        return sum_

    return [sums(rank) for rank in range(count)]


def test_two_processes_learn_what_one_does_of_both_their_batches() -> None:
    def fresh() -> VectorQuantizer:
        torch.manual_seed(0)
        head = VectorQuantizer(6, 2).train()
        head.learn(CodebookLearning(revive_after=3.0))
        return head

    def batch(step: int, part: int) -> Tensor:
        torch.manual_seed(100 * step + part)  # as the loop does for every micro-batch
        return torch.randn(24, 2) + torch.tensor([step // 4 * 5.0, 0.0])

    alone, pair = fresh(), [fresh(), fresh()]
    sums = together(2)
    for step in range(9):
        for part in range(2):
            alone(batch(step, part))
            pair[part](batch(step, part))
        alone.adapt(same, ALONE)
        threads = [Thread(target=head.adapt, args=(sum_, ALONE)) for head, sum_ in zip(pair, sums, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.equal(pair[0].codebook, pair[1].codebook)
        torch.testing.assert_close(pair[0].codebook, alone.codebook)


def test_quick_codes_are_the_nearest_up_to_rounding() -> None:
    generator = Generator().manual_seed(0)
    vectors, codebook = torch.randn(500, 8, generator=generator), torch.randn(64, 8, generator=generator)
    exact, quick = nearest(vectors, codebook), nearest_by_products(vectors, codebook)
    distances = (vectors.double()[:, None] - codebook.double()).square().sum(dim=2)
    chosen = [distances.gather(1, codes[:, None]) for codes in (exact, quick)]
    torch.testing.assert_close(*chosen, rtol=0, atol=1e-5)


def test_use_is_counted_over_a_window() -> None:
    head = two_codes(learning(by="gradient"))
    head(numbers(0.0, 10.0))
    head.adapt(same, ALONE)
    x = numbers(*[0.0] * 20)
    for _ in range(2 * WINDOW // 20):
        assert head.waiting is not None and (head.waiting < WINDOW * 2).all()
        head(x)
        head.adapt(same, ALONE)
    assert head.waiting is not None and (head.waiting < WINDOW * 2).tolist() == [True, False]
    assert head.recent is not None and head.recent[1].item() == pytest.approx(0.36788, rel=1e-4)


@pytest.mark.parametrize("settings", [{"by": "magic"}, {"first": "none"}, {"decay": 1.0}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        CodebookLearning(**settings)  # type: ignore[arg-type]


def test_weights_in_a_file_are_what_they_were() -> None:
    head = two_codes(learning())
    head(numbers(1.0))
    head.adapt(same, ALONE)
    assert list(head.state_dict()) == ["codebook"]
