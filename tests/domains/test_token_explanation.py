"""`domains.token_explanation`: tokens by their text, in the order of their contributions."""

import torch
from planted_tokens import PLACES, SURE, Places

from vaekit.distributions import AutoregressiveCategorical
from vaekit.domains.attribution import Attribution
from vaekit.domains.token_explanation import explain_tokens
from vaekit.domains.tokens import TokenTable

TABLE = TokenTable(("a", "b"))


def explained(tokens: list[int]) -> list[tuple[str, str, str, str]]:
    """Of a latent that makes only "a" probable."""
    x = torch.tensor([[*tokens, *[0] * (PLACES + 1 - len(tokens))]])
    likelihood = AutoregressiveCategorical(Places(), torch.ones(1, PLACES), PLACES + 1)
    nats = -likelihood.log_factors(x)
    found = Attribution("line 1", x, likelihood, nats, lambda count: x.expand(count, -1))
    result = explain_tokens(found, TABLE)
    assert result.nats == sum(reason.nats for reason in result.reasons)
    assert [reason.nats for reason in result.reasons] == sorted((r.nats for r in result.reasons), reverse=True)
    return [(each.where, each.value, each.expected, each.interval) for each in result.reasons]


def test_an_improbable_token_comes_first_with_what_was_expected() -> None:
    reasons = explained([2, 2, 3, 2, 2, 2])
    assert reasons[0] == ("token 3", "b", "a", "p = 1.00") and len(reasons) == PLACES + 1
    assert ("token 7", "(end)", "(end)", "p = 1.00") in reasons


def test_an_early_end_and_unknown_tokens() -> None:
    assert explained([2, 2])[0] == ("token 3", "(end)", "a", "p = 1.00")
    assert explained([1])[0][:3] in (("token 1", "(unknown)", "a"), ("token 2", "(end)", "a"))
    assert len(explained([])) == 1 and SURE > 0
