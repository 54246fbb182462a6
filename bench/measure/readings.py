"""readings.yaml: the choices that the paper leaves or makes, and the network that a set of them describes. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.measure.analytic import Attention, Head, ResNetUNet, Trunk
from bench.spec import invalid

READINGS_YAML = Path(__file__).with_name("readings.yaml")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Tag = Literal["text", "silent", "contradicts"]
Settings = Mapping[str, Any]
Place = tuple[str, int, int]  # 'encoder', 'bottleneck' or 'decoder'; level; channels


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(Strict):
    """One value of a choice. `against`: the statements of the paper that it contradicts."""

    name: str
    tag: Tag
    settings: dict[str, Any]
    against: tuple[str, ...] = ()
    held: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _tagged(self) -> Value:
        if (self.tag == "contradicts") != bool(self.against):
            raise ValueError(f"'{self.name}' is tagged {self.tag} and names {list(self.against) or 'no'} statements")
        return self


Choices = dict[str, tuple[Value, ...]]


PARTS = ("trunk", "modules", "head")
COUNTED = {"six", "nine"}  # statements on the number of modules, which `miscounted` decides


def named(choices: Choices) -> set[str]:
    """The statements that some value contradicts."""
    return {statement for values in choices.values() for value in values for statement in value.against}


class Family(Strict):
    """Readings with the same choices, each choice with its first value first."""

    against: tuple[str, ...] = ()
    trunk: Choices
    modules: Choices = Field(default_factory=dict)
    head: Choices
    counting: tuple[Value, ...]

    def choices(self) -> Choices:
        return {**self.trunk, **self.modules, **self.head, "counting": self.counting}

    def only(self, choice: str = "", value: Value | None = None) -> Family:
        """The one reading that has the first value of every choice, but for `choice` this one."""

        def one(name: str, values: tuple[Value, ...]) -> tuple[Value, ...]:
            kept = value if value and name == choice else values[0]
            return (kept.model_copy(update={"held": False}),)

        parts = {part: {name: one(name, values) for name, values in getattr(self, part).items()} for part in PARTS}
        return self.model_copy(update={**parts, "counting": self.counting[:1]})


class Search(Strict):
    """The ids of the two printed cells looked for, and the families looked in. `without_modules`: the search whose
    cells the same network without its modules is looked for.
    """

    parameters: str
    flops: str
    families: tuple[str, ...]
    without_modules: str | None = None


class Readings(Strict):
    statements: dict[str, str]
    not_searched: tuple[str, ...]
    choices: Choices
    families: dict[str, Family]
    searches: dict[str, Search]

    @model_validator(mode="after")
    def _statements(self) -> Readings:
        """A statement is known, and contradicted by the network or by its modules, so that contradictions add up."""
        for name, family in self.families.items():
            network = named(family.trunk) | set(family.against)
            modules = named(family.modules) | (COUNTED if family.modules else set())
            if lacking := sorted((network | modules) - self.statements.keys()):
                raise ValueError(f"{name}: no statement is called {', '.join(lacking)}")
            if network & modules or named({**family.head, "counting": family.counting}):
                raise ValueError(f"{name}: a statement is contradicted by network and modules, or by head or counting")
        return self


@cache
def readings() -> Readings:
    """Raises UserError where readings.yaml does not fit."""
    try:
        return Readings.model_validate(yaml.load(_content(), Loader=LOADER))
    except ValidationError as error:
        raise invalid(error, "readings.yaml", Readings) from None


def readings_sha256() -> str:
    return sha256(_content()).hexdigest()


@cache
def _content() -> bytes:
    return READINGS_YAML.read_bytes()


def combinations(choices: Choices) -> list[tuple[Value, ...]]:
    """Every combination of what is not held; a single empty one where there is nothing to choose."""
    return list(product(*(searched(values) for values in choices.values())))


def searched(values: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(value for value in values if not value.held)


def settings_of(values: tuple[Value, ...]) -> dict[str, Any]:
    return {key: setting for value in values for key, setting in value.settings.items()}


def against(values: tuple[Value, ...]) -> frozenset[str]:
    return frozenset(statement for value in values for statement in value.against)


def trunk_of(settings: Settings) -> Trunk | ResNetUNet:
    """The network but for modules and head."""
    blocks = {key: settings[key] for key in ("convolutions", "upsampling", "norm")}
    if "resnet" in settings:
        return ResNetUNet(depth=settings["resnet"], decoder=tuple(settings["channels"]), **blocks)
    blocks |= {key: settings[key] for key in ("kernel", "merge")}
    stages, bottleneck, stem, bottom = _textbook(settings) if "first" in settings else _listed(settings)
    maps = {**({0: stem} if stem else {}), **dict(stages)}
    step = 1 if settings["decoder"] == "narrower" else 0
    levels = range(bottom - 1, -1, -1)
    decoder = tuple((level, maps.get(level - step, maps[min(maps)])) for level in levels)
    return Trunk(stages, bottleneck, bottom, decoder, stem=stem, **blocks)


Plan = tuple[tuple[tuple[int, int], ...], tuple[int, ...], int, int]  # stages, bottleneck, stem, bottleneck's level


def _listed(settings: Settings) -> Plan:
    """Sec. 4.1's four widths over the levels of a layout; with a stem, the first may be the stem's."""
    widths, levels = settings["widths"], settings["levels"]
    stages = tuple(zip(levels, widths[-len(levels) :], strict=True))
    return stages, tuple(settings["bottleneck"]), widths[0] if settings.get("stem") else 0, settings["bottleneck_level"]


def _textbook(settings: Settings) -> Plan:
    """Widths that double from level to level."""
    widths = [min(settings["first"] * 2**n, settings["widest"]) for n in range(settings["halvings"])]
    levels = range(settings["first_level"], settings["first_level"] + len(widths))
    bottleneck = tuple(min(widths[-1] * factor, settings["widest"]) for factor in settings["lowest"])
    return tuple(zip(levels, widths, strict=True)), bottleneck, 0, levels.stop


def module_of(settings: Settings) -> Attention:
    keys = ("heads", "wide_heads", "projection", "feed_forward", "norms", "mask")
    return Attention(**{key: settings[key] for key in keys})


def head_of(settings: Settings) -> Head:
    return Head(settings["classes"], settings["embedding"], settings.get("hidden", 0), settings["fixed_norm"])


def places_of(trunk: Trunk, settings: Settings) -> tuple[Place, ...]:
    """Where the modules are. The decoder's lie behind each stage, or, `before`, ahead of each enlargement."""
    found: list[Place] = []
    if settings.get("encoder"):
        found += [("encoder", level, channels) for level, channels in dict(trunk.encoder).items()]
    lowest = ("bottleneck", trunk.bottleneck_level, trunk.bottleneck[-1])
    if settings.get("bottom"):
        found.append(lowest)
    after = [("decoder", level, channels) for level, channels in trunk.decoder]
    if settings.get("decoder") == "after":
        found += after
    elif settings.get("decoder") == "before":
        found += [("decoder", *lowest[1:]), *after[:-1]]
    return tuple(place for place in found if place[1] >= settings.get("from_level", 0))


def miscounted(places: tuple[Place, ...]) -> frozenset[str]:
    """The statements on the number of modules that these places contradict."""
    halves = sorted(half for half, _, _ in places)
    agreed = {"six": halves == 3 * ["decoder"] + 3 * ["encoder"], "nine": len(halves) == 9}
    return frozenset(statement for statement, holds in agreed.items() if not holds)
