"""Format numbers with as many digits as their interval supports."""

import math
from collections.abc import Iterable

from vaekit.comparison.records import Estimate

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def decimals(estimates: Iterable[Estimate]) -> int:
    """Decimals for a row of estimates: two significant digits of the narrowest interval's half width, at most four.

    Without an interval, four significant digits of the largest value.

    >>> decimals([Estimate(28.3123, 27.1, 29.4)])
    1
    >>> decimals([Estimate(0.84123, 0.83, 0.85)])
    3
    >>> decimals([Estimate(1234.5)])
    0
    """
    row = list(estimates)
    halves = [(one.high - one.low) / 2 for one in row if one.low is not None and one.high is not None]
    widths = [half for half in halves if math.isfinite(half) and half > 0]
    if widths:
        return _between(1 - math.floor(math.log10(min(widths))))
    sizes = [abs(one.value) for one in row if math.isfinite(one.value) and one.value]
    return _between(3 - math.floor(math.log10(max(sizes)))) if sizes else 2


def _between(digits: int) -> int:
    return min(max(digits, 0), 4)


def number(value: float, digits: int) -> str:
    """A number with this many decimals, in scientific notation if they would not show it.

    >>> number(-3.14159, 2), number(0.00001234, 4), number(1234567.0, 0), number(float("inf"), 1)
    ('−3.14', '1.2e−5', '1\u202f234\u202f567', '∞')
    """  # noqa: RUF002
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value and ((abs(value) < 0.5 * 10.0**-digits and digits == 4) or abs(value) >= 1e9):
        mantissa, power = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(power)}".replace("-", MINUS)
    text = f"{value:,.{digits}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("-")  # no "-0.00"
    return text.replace(",", THIN).replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int) -> str:
    """The ends in brackets; empty without them.

    >>> interval(27.1, 29.44, 1), interval(None, None, 1)
    ('[27.1, 29.4]', '')
    """
    return "" if low is None or high is None else f"[{number(low, digits)}, {number(high, digits)}]"


def with_unit(text: str, unit: str) -> str:
    """A number and its unit, with a narrow space between.

    >>> with_unit("2.1", "dB"), with_unit("0.8", "")
    ('2.1\u202fdB', '0.8')
    """
    return f"{text}{THIN}{unit}" if unit else text


def probability(p: float) -> str:
    """A p-value with two or three decimals.

    >>> probability(0.00001), probability(0.0312), probability(0.4)
    ('p < 0.001', 'p = 0.031', 'p = 0.40')
    """
    if math.isnan(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def share(part: float) -> str:
    """A share in percent.

    >>> share(0.0), share(0.00001), share(0.0213)
    ('0', '< 0.01\u202f%', '2.13\u202f%')
    """
    if part == 0:
        return "0"
    return with_unit("< 0.01" if part < 0.0001 else f"{100 * part:.2f}", "%")
