import math

from vaekit.comparison.records import Estimate
from vaekit.report.number_format import decimals, interval, number, probability, share


def test_digits_follow_the_interval() -> None:
    assert decimals([Estimate(28.3123, 27.1, 29.4), Estimate(20.0, 10.0, 30.0)]) == 1
    assert decimals([Estimate(0.5, 0.5, 0.5)]) == 4
    assert decimals([]) == 2
    assert decimals([Estimate(math.inf), Estimate(math.nan)]) == 2


def test_numbers_of_all_kinds() -> None:
    assert number(math.nan, 2) == "not a number" and number(-math.inf, 2) == "\N{MINUS SIGN}∞"
    assert number(-0.001, 2) == "0.00"
    assert number(2.5e12, 0) == "2.5e12"
    assert number(1234.5, 1) == "1\u202f234.5"


def test_intervals_and_shares() -> None:
    assert interval(-1.0, math.inf, 1) == "[\N{MINUS SIGN}1.0, ∞]"
    assert interval(1.0, None, 1) == ""
    assert probability(math.nan) == "p unknown"
    assert share(1.0) == "100.00\u202f%"
