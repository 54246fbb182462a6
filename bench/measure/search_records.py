"""results/search/<network>.json: what the specification search found. Light: no numpy, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from bench.errors import UserError
from bench.files import Strict, read_bytes
from bench.measure.readings import Search, readings, readings_sha256
from bench.paper.numbers import paper

FOLDER = "search"
COMMAND = "python -m bench audit --search"


class Target(Strict):
    """The two numbers looked for, as printed: millions of parameters and G of FLOPs."""

    parameters_m: float
    flops_g: float


class Reading(Strict):
    """One reading with its counts. `distance`: the larger of the two relative errors, as a fraction; `within`: both
    counts round to the printed numbers. `contradicts`: keys of the record's `statements`.
    """

    family: str
    choices: dict[str, str]
    contradicts: tuple[str, ...]
    parameters: int = Field(ge=0)
    flops: int = Field(ge=0)
    distance: float = Field(ge=0)
    within: bool


class Level(Strict):
    """All readings that contradict so many statements of the paper, and the nearest of them."""

    contradictions: int = Field(ge=0)
    tried: int = Field(ge=0)
    within: int = Field(ge=0)
    nearest: tuple[Reading, ...]


class Counting(Strict):
    """All readings counted in one way. `whole`: attention's products are in the count; `at_full_resolution`: how many
    of those within rounding have a module on the map of level 0; `fewest`: the smallest number of contradictions among
    those within, None where there is none; `likeliest`: as in the whole record.
    """

    counting: str
    whole: bool
    tried: int = Field(ge=0)
    within: int = Field(ge=0)
    at_full_resolution: int = Field(ge=0)
    fewest: int | None
    likeliest: tuple[Reading, ...]


class Moved(Strict):
    """One value of one choice: what it adds to the first reading of its family, all else equal, and how many readings
    with it are within rounding (None where it is not combined with the others).
    """

    family: str
    choice: str
    value: str
    tag: Literal["text", "silent", "contradicts"]
    contradicts: tuple[str, ...]
    note: str
    within: int | None
    parameters: int
    flops: int = Field(description="without attention's products")
    products: int


class Reach(Strict):
    """Of all pairs of whole numbers (1 to 100 M, 1 to 100 G), how many some reading with at most so many contradictions
    rounds to.
    """

    contradictions: int = Field(ge=0)
    pairs: int = Field(ge=0)


class Joint(Strict):
    """A reading and the same network without its modules, counted alike, against two rows of the paper at once.
    `distance` is then the largest of the four relative errors; `bare`: parameters and FLOPs without the modules of
    each of `nearest`.
    """

    other: Target
    within: int = Field(ge=0)
    nearest: tuple[Reading, ...]
    bare: tuple[tuple[int, int], ...]


class SearchRecord(Strict):
    """`first`: the first reading of each family, from which `moved` starts. `nearest`: by distance; `likeliest`: those
    within rounding, by contradictions, then distance (the nearest where none is). Both name one reading a network.
    """

    schema_version: Literal[1] = 1
    target: Target
    size: str
    readings_sha256: str
    tried: int = Field(ge=0)
    networks: int = Field(ge=0)
    within: int = Field(ge=0)
    parameters_range: tuple[int, int]
    flops_range: tuple[int, int]
    first: tuple[Reading, ...]
    nearest: tuple[Reading, ...]
    likeliest: tuple[Reading, ...]
    levels: tuple[Level, ...]
    countings: tuple[Counting, ...]
    moved: tuple[Moved, ...]
    reach: tuple[Reach, ...]
    joint: Joint | None = None
    statements: dict[str, str]
    not_searched: tuple[str, ...]


def search_file(results: Path, name: str) -> Path:
    return results / FOLDER / f"{name}.json"


def read_search(results: Path) -> dict[str, SearchRecord]:
    """By the network searched for; empty where nothing was. Raises UserError for a damaged file."""
    return {path.stem: _read(path) for path in _files(results)}


def readable_searches(results: Path) -> tuple[dict[str, SearchRecord], list[str]]:
    """The records that answer today's question, and in words why each of the others does not."""
    found, left_out = {}, []
    for path in _files(results):
        try:
            record = _read(path)
        except UserError as error:
            left_out.append(str(error).replace(str(results), results.name))
            continue
        if _is_current(path.stem, record):
            found[path.stem] = record
        else:
            left_out.append(f"{FOLDER}/{path.name} is of other printed numbers or readings than today's: {COMMAND}")
    return found, left_out


def printed(wanted: Search) -> Target:
    cells = {cell.id: cell.value for table in paper().tables.values() for cell in table.cells}
    return Target(parameters_m=cells[wanted.parameters], flops_g=cells[wanted.flops])


def _is_current(name: str, record: SearchRecord) -> bool:
    """Whether both numbers looked for, those of `joint` too, and the readings are still those of the search."""
    searches = readings().searches
    if name not in searches or record.readings_sha256 != readings_sha256():
        return False
    other = searches[name].without_modules
    joint = printed(searches[other]) if other else None
    return record.target == printed(searches[name]) and (record.joint.other if record.joint else None) == joint


def _files(results: Path) -> list[Path]:
    return sorted((results / FOLDER).glob("*.json"))


def _read(path: Path) -> SearchRecord:
    try:
        return SearchRecord.model_validate_json(read_bytes(path))
    except (OSError, ValueError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UserError(f"{path} is no record of a search ({problem}); remove it and run `{COMMAND}`") from None
