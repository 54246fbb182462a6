"""What a run is: the frozen description of all that decides its numbers, and the id derived from it. No torch."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from bench.errors import UserError, unknown
from models.categories import Task

RECIPE_VERSION = 2  # raised whenever the training code changes what a recipe gives
PROTOCOL_VERSION = 1  # raised whenever the evaluation code changes a number
NO_TRAINING = "none"  # stands for the hashes of a training split that no part of the run sees
PENDING = "pending"  # stands for the hash of a run whose data is not prepared yet

NAME = r"^[a-z0-9][a-z0-9_-]*$"  # it becomes part of a file's name

# standard: at the input's size, the same truth for every network; native: at the picture's own size, for the oracles
Protocol = Literal["standard", "native"]
# of live batch norms in training: of the whole batch, whatever the number of processes; or as at the start
NormStatistics = Literal["synchronised", "frozen"]
Percent = Literal[10, 25, 50, 75, 100]  # of the training split, Figure 3; the smaller lie within the larger


class Frozen(BaseModel):
    """Plain data: immutable, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse_size(text: Any) -> tuple[int, int]:
    """'48x64' -> (48, 64): height x width. Raises ValueError."""
    if isinstance(text, (tuple, list)) and len(text) == 2:
        text = f"{text[0]}x{text[1]}"
    match = re.fullmatch(r"\s*(\d+)\s*x\s*(\d+)\s*", str(text))
    if not match or not all(1 <= int(side) <= 4096 for side in match.groups()):
        raise ValueError(f"a size is height x width, such as 128x128 or 48x64; got {text!r}")
    return int(match[1]), int(match[2])


def size_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


Size = Annotated[tuple[int, int], BeforeValidator(parse_size), PlainSerializer(size_text, return_type=str)]


class Augmentation(Frozen):
    """What is done to an image and its truth in training. The paper (Sec. 4.2) names random scale jittering and
    horizontal flipping and gives no numbers: these are ours."""

    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        (0.75, 1.5), description="range of one uniform factor for height and width"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is a range, lowest first; got {self.scale[0]} to {self.scale[1]}")
        return self


class Tuning(Frozen):
    """How a learning rate was found: the best of `factors` times the recipe's own, by `metric` on `held_out` percent of
    the training images.
    """

    factors: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    factor: float = Field(gt=0)
    metric: Literal["mIoU", "PQ", "AP"]
    held_out: int = Field(ge=1, le=50)
    seed: int = Field(ge=0)


class Recipe(Frozen):
    """How a network is trained. Rates are per step, `epochs` counts passes over the training split."""

    name: str
    source: str = Field(description="where the values come from")
    lr: float = Field(ge=0)
    weight_decay: float = Field(ge=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(0, ge=0, description="set by the profile, the same for every network")
    optimizer: Literal["adamw"] = "adamw"
    schedule: Literal["constant", "poly", "step"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    clip_norm: float | None = Field(None, gt=0)
    backbone_lr_factor: float = Field(1.0, ge=0)
    augmentation: Augmentation | None = Augmentation()
    tuning: Tuning | None = Field(None, description="None: the rate is the recipe's own")


class Budget(Frozen):
    """How many images a run sees: None is the whole split. `train_percent` of them are trained on.

    `held_out`: percent of those that a run of `bench tune` leaves out of training and is evaluated on, instead of the
    validation split, which it never sees; both hashes of its spec are the training split's.
    """

    train_images: int | None = Field(None, ge=1)
    val_images: int | None = Field(None, ge=1)
    train_percent: Percent = 100
    held_out: int = Field(0, ge=0, le=50)


class OtherSize(Frozen):
    """A further size at which a trained network is evaluated, on the validation truth of that size; hashes as in the
    spec.
    """

    size: Size
    val_hash: str | None
    val_pixels: str | None


class RunSpec(Frozen):
    """All that decides a run's numbers. The hashes of truth and pixels are None until the data is prepared."""

    model: str
    options: dict[str, Any]
    task: Task
    dataset: str = Field(pattern=NAME)
    size: Size
    budget: Budget
    train_hash: str | None
    val_hash: str | None
    train_pixels: str | None
    val_pixels: str | None
    recipe: Recipe
    precision: Literal["mixed", "float32"]  # mixed: bfloat16 autocast on a GPU, float32 elsewhere
    profile: str
    seed: int = Field(ge=0)
    also_at: tuple[OtherSize, ...] = ()
    norm_statistics: NormStatistics = "synchronised"
    protocol: Protocol = "standard"
    recipe_version: int = RECIPE_VERSION
    protocol_version: int = PROTOCOL_VERSION

    def canonical(self) -> str:
        """Canonical JSON: sorted keys, no spaces; without the recipe's source, which is prose. The id is its hash.

        What came later than the first records is left out where it is not used, so that their ids stay.
        """
        content = self.model_dump(mode="json", exclude={"recipe": {"source"}})
        if not self.budget.held_out:
            del content["budget"]["held_out"]
        if self.recipe.tuning is None:
            del content["recipe"]["tuning"]
        if not self.also_at:
            del content["also_at"]
        if self.norm_statistics == "synchronised":
            del content["norm_statistics"]
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @property
    def slug(self) -> str:
        kind = "-tuned" if self.recipe.tuning else f"-search-lr{self.recipe.lr:g}" if self.budget.held_out else ""
        return f"{self.model}-{self.dataset}-{size_text(self.size)}-{self.profile}{kind}-s{self.seed}"

    @property
    def is_pending(self) -> bool:
        """Whether the data is not prepared yet."""
        others = (digest for other in self.also_at for digest in (other.val_hash, other.val_pixels))
        return None in (self.train_hash, self.val_hash, self.train_pixels, self.val_pixels, *others)

    @property
    def run_id(self) -> str:
        """`<slug>-<10 hex of sha256>`; the hash is 'pending' before the data is prepared."""
        if self.is_pending:
            return f"{self.slug}-{PENDING}"
        return f"{self.slug}-{hashlib.sha256(self.canonical().encode()).hexdigest()[:10]}"


class Profile(Frozen):
    """A named budget, the same for every network of a suite."""

    name: str = Field(pattern=NAME)
    summary: str
    label: str = Field(description="how its numbers are labelled in a report")
    reproduction: bool = Field(description="may stand beside the paper's numbers as a reproduction")
    epochs: int = Field(ge=0)
    max_side: int | None = Field(None, ge=1)
    max_trained_side: int | None = Field(None, ge=1, description="of a suite whose networks are trained")
    max_batch: int | None = Field(None, ge=1)
    max_seeds: int | None = Field(None, ge=1)
    max_points: int | None = Field(None, ge=2, description="of a suite that is a sweep")
    train_images: int | None = Field(None, ge=1)
    val_images: int | None = Field(None, ge=1)
    backbone_weights: str = "none"
    keep_weights: bool = True

    def fit_size(self, size: tuple[int, int], trained: bool = True) -> tuple[int, int]:
        """The size under the caps, the ratio of the sides kept: 48x64 under 32 is 24x32."""
        longest = max(size)
        caps = (self.max_side, self.max_trained_side if trained else None)
        most = min((cap for cap in caps if cap is not None), default=longest)
        if longest <= most:
            return size
        height, width = (max(1, side * most // longest) for side in size)
        return height, width


class ModelEntry(Frozen):
    """One row of a suite: a registered network and the options that differ from its defaults."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    recipe: str | None = Field(None, description="a named recipe of bench/train/recipes.py; else the family's own")
    norm_statistics: NormStatistics = Field("synchronised", description="of live batch norms in training")


def _as_entry(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Suite(Frozen):
    """The grid of runs an exhibit needs."""

    name: str = Field(pattern=NAME)
    title: str
    exhibit: str | None = Field(None, pattern=r"^(table[1-9]|figure[1-7]|oracle|sizes)$")
    task: Task
    sizes: tuple[Size, ...] = Field(min_length=1)
    models: tuple[Annotated[ModelEntry, BeforeValidator(_as_entry)], ...] = Field(min_length=1)
    datasets: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    train_percent: tuple[Percent, ...] = Field((100,), min_length=1)
    floors: bool = True
    epochs: int | None = Field(None, ge=1, description="at most so many, whatever the profile")
    across: bool = Field(False, description="networks trained at the largest size are evaluated at the others, too")
    sweep: bool = Field(False, description="the entries are points of one curve, of which a profile may take fewer")
    against: tuple[Annotated[ModelEntry, BeforeValidator(_as_entry)], ...] = Field(
        (), description="rows of `models` that every other row is set against"
    )

    def entries(self, profile: Profile) -> tuple[ModelEntry, ...]:
        """The rows under a profile: of a sweep at most its `max_points`, evenly spaced, both ends among them."""
        most, last = profile.max_points, len(self.models) - 1
        if not self.sweep or most is None or last < most:
            return self.models
        return tuple(self.models[n * last // (most - 1)] for n in range(most))

    @model_validator(mode="after")
    def _against_its_own_rows(self) -> Suite:
        for entry in self.against:
            if entry not in self.models:
                raise ValueError(f"against: {entry.name}{entry.options or ''} is not one of the suite's models")
        return self


def invalid(error: Exception, where: str, model: type[BaseModel] | None = None) -> UserError:
    """One line from pydantic's first complaint, with 'did you mean' for an unknown key."""
    if not isinstance(error, ValidationError):
        return UserError(f"{where}: {error}")
    complaints = error.errors(include_url=False, include_context=False)
    first = min(complaints, key=lambda one: one["type"] != "extra_forbidden")  # a misspelt key explains a missing one
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1 and model is not None:
        return unknown("key", path, model.model_fields, where)
    message = first["msg"].removeprefix("Value error, ")
    found = f", got {str(first['input'])[:60]!r}" if first["type"] != "missing" else ""
    return UserError(f"{where}: {path or 'content'}: {message}{found}")
