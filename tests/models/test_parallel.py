"""Two processes with half of a batch each: every loss, and every statistic, is that of one with the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.group import Group
from models.categories import VOID, Categories, Category, Segment
from models.interface import Batch
from models.norm_statistics import SynchronisedBatchNorm2d, freeze, synchronise
from models.parallel import divisor, largest, mean_of_all, noise, total
from models.registry import build
from tests.together import together

CATEGORIES = Categories(tuple(Category(n + 1, f"class {n}", n < 2, (0, 0, 0)) for n in range(4)))
THING, OTHER, STUFF, CROWD = Segment(0, True, False), Segment(1, True, False), Segment(2, False, False), None
SIZE = (32, 32)
ROWS = 5
TABLES: list[dict[int, Segment]] = [
    {1: THING, 2: OTHER, 3: STUFF},
    {1: THING},
    {},
    {1: STUFF, 2: OTHER, 3: OTHER, 4: THING, 5: THING, 6: OTHER},
    {1: Segment(0, True, True), 2: OTHER},
]
NETWORKS = ("unet-small", "maskattn-unet-small", "detr-small", "mask2former-small")


def whole_batch(empty: bool = False) -> Batch:
    """Images that differ in how many segments they have, as in how much void; `empty`: no process but one has any."""
    chance = torch.Generator().manual_seed(3)
    images = torch.rand(ROWS, 3, *SIZE, generator=chance)
    segments = torch.zeros(ROWS, *SIZE, dtype=torch.int64)
    tables = [{} if empty and row > 1 else table for row, table in enumerate(TABLES)]
    for row, table in enumerate(tables):
        for number in table:
            top, left = torch.randint(0, 20, (2,), generator=chance).tolist()
            segments[row, top : top + 4 + 2 * number, left : left + 9] = number
    semantic = torch.full_like(segments, VOID)
    for row, table in enumerate(tables):
        for number, segment in table.items():
            semantic[row][segments[row] == number] = segment.category
    return Batch(images, semantic, segments, tables)


def share(batch: Batch, group: Group) -> tuple[Batch, slice]:
    """Rows 0 and 1 for the first process of two, 2 to 4 for the second."""
    rows = slice(group.rank * ROWS // group.size, (group.rank + 1) * ROWS // group.size)
    return Batch(batch.images[rows], batch.semantic[rows], batch.segments[rows], batch.tables[rows]), rows


class SamePoints:
    """Random points that are a function of their shape: those of masks do not depend on which other masks there are."""

    def __init__(self) -> None:
        self.honest = torch.rand

    def __call__(self, *shape: Any, **named: Any) -> Tensor:
        if len(shape) == 3:  # the points of masks
            one = self.honest(1, *shape[1:], generator=torch.Generator().manual_seed(shape[1]))
            return one.expand(*shape).contiguous()
        return self.honest(*shape, **named)


def terms_and_gradients(group: Group, name: str, task: str, empty: bool) -> dict[str, float]:
    """The terms and the sum of squares of the outputs' gradients; of several processes the means and sums."""
    torch.rand = SamePoints()  # type: ignore[assignment]
    torch.manual_seed(0)
    model = build(name, CATEGORIES, SIZE, task)
    own, rows = share(whole_batch(empty), group)
    with torch.no_grad():
        outputs = model.train()(whole_batch().images)  # of all rows: they are fixed, not what is tested
    leaves = {key: value[rows].clone().requires_grad_() for key, value in outputs.items()}
    torch.manual_seed(7)
    terms = model.loss(leaves, own)
    torch.stack(list(terms.values())).sum().backward()
    squares = sum(leaf.grad.square().sum() for leaf in leaves.values() if leaf.grad is not None)
    means = group.mean(torch.stack([term.detach() for term in terms.values()])).tolist()
    # What data parallel does: the gradient of the mean over the processes.
    found = dict(zip(terms, means, strict=True))
    return {**found, "gradient": float(total(squares)) / group.size**2}


def all_terms(group: Group) -> dict[str, dict[str, float]]:
    honest, found = torch.rand, {}
    for name in NETWORKS:
        for task, empty in (("panoptic", False), ("panoptic", True), ("semantic", False)):
            found[f"{name} {task} {empty}"] = terms_and_gradients(group, name, task, empty)
            torch.rand = honest
    return found


def test_every_term_is_that_of_the_whole_batch_and_so_is_its_gradient() -> None:
    (one,), two = together(1, all_terms), together(2, all_terms)
    assert two[0] == two[1]
    assert one.keys() == two[0].keys()
    for case, terms in one.items():
        assert two[0][case] == pytest.approx(terms, rel=1e-5, abs=1e-7), case
    assert all(value > 0 for value in one["mask2former-small panoptic False"].values())


def reductions(group: Group) -> dict[str, Any]:
    count = torch.tensor([3, 4][group.rank] if group.size > 1 else 7)
    torch.manual_seed(1 + 10 * group.rank)
    rows = [2, 3][group.rank] if group.size > 1 else 5
    drawn = noise(rows, 6, torch.device("cpu"))
    local = [1.0, 5.0][group.rank]
    return {
        "divisor": float(divisor(count)),
        "nothing": float(divisor(count * 0)),
        "largest": largest([8, 2][group.rank] if group.size > 1 else 8, torch.device("cpu")),
        "mean": float(group.mean(mean_of_all(torch.tensor(local), 1.0 + 2 * group.rank))),
        "noise": drawn.tolist(),
        "own": torch.rand(3).tolist(),
    }


def test_counts_are_those_of_all_and_chance_is_drawn_once_for_all() -> None:
    (one,), two = together(1, reductions), together(2, reductions)
    assert one["divisor"] == 7
    assert [found["divisor"] for found in two] == [3.5, 3.5]
    assert [found["nothing"] for found in (one, *two)] == [1, 0.5, 0.5]  # the clamp is on the count of all
    assert [found["largest"] for found in (one, *two)] == [8, 8, 8]
    assert two[0]["mean"] == pytest.approx((1 * 1 + 5 * 3) / 4)
    assert two[0]["noise"] + two[1]["noise"] == one["noise"]
    assert two[0]["own"] == one["own"]
    assert two[0]["own"] != two[1]["own"]  # dropout is not the same in both


def norm_step(group: Group) -> dict[str, Any]:
    """Three steps of a batch norm with weights, one of them over maps of a single pixel."""
    chance = torch.Generator().manual_seed(5)
    norm = nn.BatchNorm2d(3).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(3, generator=chance))
        norm.bias.copy_(torch.randn(3, generator=chance))
    synchronise(norm) if group.size > 1 else None
    assert isinstance(norm, SynchronisedBatchNorm2d) == (group.size > 1)
    gradients, outputs = [], []
    for height, width in ((4, 6), (2, 2), (1, 1)):
        whole = torch.randn(ROWS, 3, height, width, generator=chance, dtype=torch.float64) * 3 + 1
        aim = torch.randn(ROWS, 3, height, width, generator=chance, dtype=torch.float64)
        rows = slice(group.rank * ROWS // group.size, (group.rank + 1) * ROWS // group.size)
        x = whole[rows].clone().requires_grad_()
        norm.zero_grad()
        out = norm.train()(x)
        ((out - aim[rows]).pow(3).sum() * group.size).backward()  # the mean over processes is the sum over rows
        assert x.grad is not None
        gradients += [x.grad / group.size, *(group.mean(p.grad.clone()) for p in norm.parameters())]  # type: ignore[union-attr]
        outputs.append(out.detach())
    state = {name: value.tolist() for name, value in norm.state_dict().items()}
    return {"out": [o.tolist() for o in outputs], "grad": [g.tolist() for g in gradients], "state": state}


def test_a_synchronised_norm_is_the_norm_of_the_whole_batch() -> None:
    (one,), two = together(1, norm_step), together(2, norm_step)
    assert two[0]["state"] == two[1]["state"]
    for name, value in one["state"].items():
        assert two[0]["state"][name] == pytest.approx(value, rel=1e-9), name
    for step in range(3):
        both = torch.tensor(two[0]["out"][step] + two[1]["out"][step])
        assert torch.allclose(both, torch.tensor(one["out"][step]), rtol=1e-5, atol=1e-8)
        of_input = torch.tensor(two[0]["grad"][3 * step] + two[1]["grad"][3 * step])
        assert torch.allclose(of_input, torch.tensor(one["grad"][3 * step]), rtol=1e-5, atol=1e-8)
        for which in (1, 2):
            mine, theirs = (torch.tensor(found["grad"][3 * step + which]) for found in (two[0], one))
            assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-8)


def test_with_one_process_a_norm_is_torchs_own() -> None:
    norm, own = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    synchronise(norm)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(norm(x), own(x))
    assert torch.equal(norm.running_var, own.running_var)


def test_a_norm_that_cannot_be_synchronised_is_refused() -> None:
    with pytest.raises(ValueError, match="1: only plain"):
        synchronise(nn.Sequential(nn.Identity(), nn.BatchNorm1d(3)))


def test_frozen_norms_leave_their_statistics_as_they_were() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    freeze(model.train())
    model(x)
    assert model[2].training
    assert torch.equal(model[1].running_mean, torch.zeros(4))
    assert torch.equal(model[1].running_var, torch.ones(4))
    model.train()(x)
    assert not torch.equal(model[1].running_mean, torch.zeros(4))
