"""A number with its unit, the sum it came from, and how it answers to what was sampled; and what can be done to it.

The slopes are partial derivatives, so an interval of any expression follows from those of its operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.errors import UserError

Mark = Literal["bold", "underline", "none"]


@dataclass(frozen=True)
class Quantity:
    """`unit` is '' for a pure number. `slopes` is by the key of each sample; empty where the value is exact."""

    value: float
    unit: str = ""
    text: str = ""  # the arithmetic, without its result: "45.3 − 33.8"
    name: str = ""  # whose number it is, of a single operand
    slopes: Mapping[str, float] = field(default_factory=dict)
    mark: Mark | None = None  # printed beside it

    @property
    def is_computed(self) -> bool:
        return " " in self.text

    def marked(self, mark: Mark | None) -> Quantity:
        return replace(self, mark=mark)

    def __str__(self) -> str:
        """'45.3 − 33.8 = 11.5 points', or '46 M (MaskAttn-UNet)' of a single operand."""
        shown = amount(self.value, self.unit)
        if self.is_computed:
            return f"{self.text} = {shown}"
        return f"{shown} ({self.name})" if self.name else shown


def constant(value: float, unit: str = "", name: str = "") -> Quantity:
    return Quantity(float(value), unit, plain(value), name)


def plain(value: float) -> str:
    """A number for reading: '34.02', '0.0388', '16384', '1e9'."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        mantissa, _, exponent = f"{value:.4g}".partition("e+")
        return f"{mantissa}e{int(exponent)}"
    digits = 2 if abs(value) >= 1 else 3 - math.floor(math.log10(abs(value)))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(value: float, unit: str) -> str:
    """'45.3 %', '1 point', '128'."""
    text = plain(value)
    return f"{text} point" if (text, unit) == ("1", "points") else f"{text} {unit}".rstrip()


def amount_as(quantity: Quantity, unit: str) -> str:
    """A pure number as one of `unit`."""
    return str(replace(quantity, unit=unit))


def total(parts: Sequence[Quantity]) -> Quantity:
    return _combined(sum(p.value for p in parts), _common(parts), parts, " + ", [1.0] * len(parts))


def difference(parts: Sequence[Quantity]) -> Quantity:
    """Of two percentages it is in points."""
    unit = _common(parts)
    first, second = parts
    return _combined(first.value - second.value, "points" if unit == "%" else unit, parts, " − ", [1.0, -1.0])


def product(parts: Sequence[Quantity]) -> Quantity:
    units = [part.unit for part in parts if part.unit]
    if len(units) > 1:
        raise UserError(f"a product of {' and '.join(units)} has no unit here; at most one factor may have one")
    value = math.prod(part.value for part in parts)
    slopes = [math.prod(p.value for j, p in enumerate(parts) if j != i) for i in range(len(parts))]
    return _combined(value, units[0] if units else "", parts, " × ", slopes)


def ratio(parts: Sequence[Quantity]) -> Quantity:
    first, second = parts
    if second.unit and first.unit != second.unit:
        raise UserError(f"a ratio of {first.unit or 'a number'} to {second.unit} has no unit here")
    _check_not_zero(second)
    slopes = [1 / second.value, -first.value / second.value**2]
    return _combined(first.value / second.value, "" if second.unit else first.unit, parts, " / ", slopes)


def percent_change(parts: Sequence[Quantity]) -> Quantity:
    """By how many percent the first is more than the second."""
    _common(parts)
    first, second = parts
    _check_not_zero(second)
    slopes = [100 / second.value, -100 * first.value / second.value**2]
    made = _combined(100 * (first.value - second.value) / second.value, "%", parts, " − ", slopes)
    return replace(made, text=f"100 × ({made.text}) / {_inner(second)}")


def logarithm(parts: Sequence[Quantity]) -> Quantity:
    """The natural one, of a pure number."""
    (only,) = parts
    if only.unit or only.value <= 0:
        raise UserError(f"a logarithm takes a pure number above 0, got {amount(only.value, only.unit)}")
    made = _combined(math.log(only.value), "", parts, "", [1 / only.value])
    return replace(made, text=f"ln {_inner(only)}")


# name in the YAML -> (function, how many parts it takes; None: one or more)
FUNCTIONS: Mapping[str, tuple[Callable[[Sequence[Quantity]], Quantity], int | None]] = {
    "sum": (total, None),
    "difference": (difference, 2),
    "product": (product, None),
    "ratio": (ratio, 2),
    "percent_change": (percent_change, 2),
    "log": (logarithm, 1),
}


def _combined(value: float, unit: str, parts: Sequence[Quantity], sign: str, slopes: Sequence[float]) -> Quantity:
    """The result with the chain rule: each part's slopes times the result's slope by that part."""
    by_key: dict[str, float] = {}
    for part, slope in zip(parts, slopes, strict=True):
        for key, inner in part.slopes.items():
            by_key[key] = by_key.get(key, 0.0) + slope * inner
    return Quantity(value, unit, sign.join(_inner(part) for part in parts), slopes=by_key)


def _inner(part: Quantity) -> str:
    return f"({part.text})" if part.is_computed else part.text


def _common(parts: Sequence[Quantity]) -> str:
    """The unit of all that have one. Raises UserError where they differ."""
    units = list(dict.fromkeys(part.unit for part in parts if part.unit))
    if len(units) > 1:
        raise UserError(f"{units[0]} and {units[1]} cannot be added or compared")
    return units[0] if units else ""


def check_comparable(first: Quantity, second: Quantity) -> None:
    """Raises UserError for two units; a pure number goes with any."""
    _common((first, second))


def _check_not_zero(quantity: Quantity) -> None:
    if quantity.value == 0:
        raise UserError(f"division by zero: {quantity}")
