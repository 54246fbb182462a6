"""Two processes train what one does: the same batches, the same losses, the same checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data.batches import batches
from bench.data.epochs import share_of
from bench.data.prepared import load
from bench.data.view import View
from bench.group import Group
from bench.progress import Clock
from bench.stop import Stop, StoppedError
from bench.train.checkpoints import Checkpoints
from bench.train.loop import DivergedError, Trainer
from bench.train.saver import Saver, resume
from bench.train.seeds import axis_seed
from models.interface import Batch
from models.registry import build
from tests.together import together
from tests.train.resuming import RUN, facts_at, recipe


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(n, 500), st.just(n))))
def test_shares_are_the_rows_once_in_order_and_alike(case: tuple[int, int]) -> None:
    rows, processes = case
    shares = [list(range(rows))[share_of(rows, process, processes)] for process in range(processes)]
    assert [row for share in shares for row in share] == list(range(rows))
    assert {len(share) for share in shares} <= {rows // processes, rows // processes + 1}
    assert min(map(len, shares)) >= 1


def test_the_shares_of_a_batch_are_the_batch(eight_scenes: View) -> None:
    def epoch(share: tuple[int, int]) -> list[torch.Tensor]:
        named = {"seed": 0, "epoch": 1, "augmentation": recipe().augmentation, "shuffle": True, "drop_last": False}
        return [batch.images for batch in batches(eight_scenes, 5, first_step=0, share=share, **named)]

    whole, one, other = epoch((0, 1)), epoch((0, 2)), epoch((1, 2))
    assert [len(images) for images in whole] == [5, 3]
    for step, images in enumerate(whole):
        assert torch.equal(torch.cat([one[step], other[step]]), images)


def training(
    group: Group, data: View, folder: Path, name: str, values: dict[str, Any], stop_after: int | None = None
) -> dict[str, Any]:
    """Trains, from the folder's last checkpoint on. `double`: in float64, so that rounding is out of the way."""
    options, double = values.get("options", {}), values.get("double", False)
    torch.manual_seed(axis_seed(0, "initialisation"))
    model = build(name, data.categories, data.size, **options).to(memory_format=torch.channels_last)
    honest = torch.Tensor.float
    if double:
        forward = model.double().forward
        model.forward = lambda images: forward(images.double())  # type: ignore[method-assign]
        torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    trainer = Trainer(model, data, recipe(**values["recipe"]), 0, mixed=True, group=group, **values.get("trainer", {}))
    steps, seeds, step = list[dict[str, float]](), list[int](), trainer._step

    def noted(batch: Batch) -> dict[str, float]:
        steps.append(step(batch))
        seeds.append(torch.initial_seed())
        return steps[-1]

    trainer._step = noted  # type: ignore[method-assign]
    try:
        if group.rank:
            group.tell()
            trainer.follow()
        else:
            _lead(trainer, folder, stop_after)
    finally:
        torch.Tensor.float = honest  # type: ignore[method-assign]
    state = {name: tensor.clone() for name, tensor in trainer.tensors().items() if not name.startswith("chance")}
    return {"steps": steps, "seeds": seeds, "state": {name: tensor.numpy() for name, tensor in state.items()}}


def _lead(trainer: Trainer, folder: Path, stop_after: int | None) -> None:
    folder.mkdir(exist_ok=True)
    checkpoints, stop = Checkpoints(folder / "checkpoint", RUN), Stop()
    resume(trainer, checkpoints)
    saver = Saver(trainer, checkpoints, 1e9, stop, facts_at(trainer), Clock())

    def report(row: dict[str, Any]) -> None:
        if row["step"] == stop_after:
            stop.ask("a test")

    try:
        trainer.train(folder / "history.jsonl", report, saver.after_step)
    except StoppedError:
        assert stop_after is not None


def several(group: Group, prepared: Path, cases: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Trainings one after the other, in the same processes."""
    data = View(load(prepared))
    return [training(group, data, *case) for case in cases]


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


TWENTY = {"batch_size": 3, "epochs": 10}  # eight images: batches of 3, which two processes cannot halve
EXACT = {"recipe": TWENTY, "double": True}
ROUNDED = {"recipe": {**TWENTY, "lr": 1e-4}}
U_NETS = ("unet-small", "maskattn-unet-small")


@pytest.mark.slow
def test_the_losses_of_twenty_steps_are_those_of_one_process(eight_scenes: View, tmp_path: Path) -> None:
    """In float64 to nine digits. In float32 AdamW enlarges rounding: its first steps are the signs of the gradients."""
    found = {}
    for count in (1, 2):
        cases = [(tmp_path / f"{count}-{name}", name, EXACT) for name in U_NETS]
        cases += [(tmp_path / f"{count}-resampled", U_NETS[1], {**EXACT, "options": {"mask": "random-resampled"}})]
        cases += [(tmp_path / f"{count}-{name}-rounded", name, ROUNDED) for name in U_NETS]
        found[count] = together(count, several, eight_scenes.prepared.folder, cases)
    for one, first, second in zip(found[1][0], *found[2], strict=True):
        assert len(one["steps"]) == 20
        assert first["steps"] == second["steps"]
        assert equal(first["state"], second["state"])
        assert first["seeds"] == one["seeds"]
        assert len({*first["seeds"], *second["seeds"]}) == 10 + 20  # dropout has nothing in common
    for case, digits in enumerate((1e-9, 1e-9, 1e-9, 1e-5, 1e-5)):
        for mine, alone in zip(found[2][0][case]["steps"], found[1][0][case]["steps"], strict=True):
            assert mine == pytest.approx(alone, rel=digits), (case, digits)
    history = [(tmp_path / f"{count}-unet-small" / "history.jsonl").read_text() for count in (1, 2)]
    assert len(history[0].splitlines()) == len(history[1].splitlines()) == 10


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_any_number_of_processes(eight_scenes: View, tmp_path: Path) -> None:
    """In float64: whole by one process; begun by two and ended by one; the other way round."""
    data, name = eight_scenes.prepared.folder, "unet-small"
    (whole,) = together(1, several, data, [(tmp_path / "whole", name, EXACT)])[0]
    assert len(whole["steps"]) == 20
    for first, second in ((2, 1), (1, 2)):
        folder = tmp_path / f"{first}-{second}"
        begun = together(first, several, data, [(folder, name, EXACT, 7)])[0][0]
        ended = together(second, several, data, [(folder, name, EXACT)])[0][0]
        assert (len(begun["steps"]), len(ended["steps"])) == (7, 13)
        for mine, alone in zip(begun["steps"] + ended["steps"], whole["steps"], strict=True):
            assert mine == pytest.approx(alone, rel=1e-9)
        assert (folder / "history.jsonl").read_text().count("\n") == 10


FOUR = {"recipe": {"batch_size": 4, "epochs": 2}}


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "name"), [(2, "mask2former-small"), (3, "unet-small")])
def test_with_the_same_number_of_processes_it_goes_on_with_the_same_bits(
    processes: int, name: str, eight_scenes: View, tmp_path: Path
) -> None:
    """Mask2Former draws points in every process; with three the order of a sum decides its last bits."""
    data = eight_scenes.prepared.folder
    cases = [(tmp_path / "whole", name, FOUR), (tmp_path / "stopped", name, FOUR, 1)]
    (whole, begun), *_ = together(processes, several, data, cases)
    (ended,), *_ = together(processes, several, data, [(tmp_path / "stopped", name, FOUR)])
    assert begun["steps"] + ended["steps"] == whole["steps"]
    assert equal(ended["state"], whole["state"])
    texts = [(tmp_path / folder / "history.jsonl").read_text() for folder in ("whole", "stopped")]
    assert texts[0] == texts[1]


def diverging(group: Group, prepared: Path, folder: Path) -> str:
    """One process alone sees a loss that is not finite."""
    data = View(load(prepared))
    model = build("unet-small", data.categories, data.size)
    trainer = Trainer(model, data, recipe(batch_size=4), 0, mixed=True, group=group)
    honest = model.loss
    if group.rank == 1:
        model.loss = lambda *given: {n: t * torch.nan for n, t in honest(*given).items()}  # type: ignore[method-assign]
        group.tell()
        trainer.follow()
        return str(group.tell())
    with pytest.raises(DivergedError, match="step 1 of 4"):
        trainer.train(folder / "history.jsonl", lambda row: None)
    assert not group.broken
    return str(group.tell("the next"))


def test_where_one_process_diverges_all_do(eight_scenes: View, tmp_path: Path) -> None:
    assert together(2, diverging, eight_scenes.prepared.folder, tmp_path) == ["the next"] * 2


def with_norms(group: Group, prepared: Path, folder: Path, norm_statistics: str) -> Any:
    data = View(load(prepared))
    torch.manual_seed(0)
    model = build("maskattn-unet-released", data.categories, data.size, fixed_layernorm=False)
    model.trunk.dropout.p = 0.0  # type: ignore[union-attr]
    trainer = Trainer(model, data, recipe(batch_size=3, lr=1e-5, epochs=1), 0, True, 0, group, norm_statistics)  # type: ignore[arg-type]
    if group.rank:
        group.tell()
        trainer.follow()
    else:
        trainer.train(folder / f"{group.size}{norm_statistics}", lambda row: None)
    statistics = {name: value for name, value in model.state_dict().items() if "running" in name}
    return trainer.lines, {name: value.numpy() for name, value in statistics.items()}


@pytest.mark.slow
@pytest.mark.parametrize("norm_statistics", ["synchronised", "frozen"])
def test_norm_statistics_are_those_of_one_process_or_frozen(
    norm_statistics: str, eight_scenes: View, tmp_path: Path
) -> None:
    given = eight_scenes.prepared.folder, tmp_path, norm_statistics
    (one,), two = together(1, with_norms, *given), together(2, with_norms, *given)
    assert equal(two[0][1], two[1][1])
    for name, value in one[1].items():
        start = 0 if "mean" in name else 1
        assert (value == start).all() == (norm_statistics == "frozen")
        assert two[0][1][name] == pytest.approx(value, rel=1e-3, abs=1e-4)
