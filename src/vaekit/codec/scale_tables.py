"""Tables of integer probabilities for rounded Gaussian values, the same bits on every machine.

Level k has the standard deviation 2^(-3 + k / 6). With K symbols (values from -r to r, and one for all others),
symbol i has 1 + floor((2^24 - K) p_i) of 2^24 parts, where p_i is the mass within half a unit; what is left over
belongs to the value 0. Masses are computed in decimal arithmetic with 40 digits, whose operations are rounded correctly
by definition.
"""

from decimal import Decimal, localcontext
from functools import lru_cache
from math import ceil, isqrt

import numpy as np
from numpy.typing import NDArray

TOTAL_BITS = 24
DIGITS = 40
PI = Decimal("3.14159265358979323846264338327950288419716939937510")
REACH = 5.2
"""Standard deviations within r; the mass beyond is less than a part."""
STEP_BITS = 20
"""Binary digits behind the point of a step."""
STEPS_PER_OCTAVE = 64
FAR = 14
"""Standard deviations from which on the mass beyond is 0 here."""


@lru_cache(maxsize=64)
def table(level: int) -> NDArray[np.int64]:
    """The parts of each symbol of a level, from -r to r, then that of all other values: (2 r + 2,), summing to 2^24."""
    with localcontext() as context:
        context.prec = DIGITS
        scale = Decimal(2) ** -3 * sixth_root(level)
        reach = ceil(REACH * float(scale)) + 1
        symbols = 2 * reach + 2
        tails = [tail((Decimal(i) + Decimal("0.5")) / scale) for i in range(reach + 1)]
        masses = [tails[i - 1] - tails[i] for i in range(1, reach + 1)]
        free = 2**TOTAL_BITS - symbols
        one_side = [int(free * mass) for mass in masses]
        beyond = int(free * 2 * tails[-1])
    middle = free - 2 * sum(one_side) - beyond
    return np.array([*one_side[::-1], middle, *one_side, beyond], dtype=np.int64) + 1


def sixth_root(level: int) -> Decimal:
    """2^(level / 6), by the roots 2^(1/2) and 2^(1/3)."""
    octaves, rest = divmod(level, 6)
    third = (Decimal(2).ln() / 3).exp()
    halves, thirds = divmod(rest, 2)
    # rest / 6 = halves * (1/3) + thirds * (1/6)
    return Decimal(2) ** octaves * third**halves * third.sqrt() ** thirds


def tail(x: Decimal) -> Decimal:
    """The mass of N(0, 1) above x >= 0: one half minus the density times the series of x^(2n+1) / (2n+1)!!
    (Abramowitz & Stegun 1964, 26.2.11)."""
    if x > FAR:
        return Decimal(0)
    term = total = x
    n = 1
    while term > total * Decimal(10) ** -DIGITS:
        n += 2
        term = term * x * x / n
        total += term
    density = (-x * x / 2).exp() / (2 * PI).sqrt()
    return max(Decimal("0.5") - density * total, Decimal(0))


def step_of(code: int) -> float:
    """The step 2^(code / 64), rounded down to a multiple of 2^-20 by integer roots."""
    power = 1 << (code + STEP_BITS * STEPS_PER_OCTAVE)
    for _ in range(STEPS_PER_OCTAVE.bit_length() - 1):
        power = isqrt(power)
    return power / 2**STEP_BITS
