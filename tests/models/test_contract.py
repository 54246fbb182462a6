"""What every registered network keeps: any size it takes, any task, images without a label, one seed one number.

By default networks run narrow where they have the option, and the deepest run once, at one size; `slow` runs each as
it is registered, at every size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.categories import TASKS, VOID, Categories, Task
from models.interface import Batch, SegmentationModel
from models.registry import ENTRIES, Entry, build

SIZES = ((128, 128), (64, 64), (48, 64), (32, 32))
SMALLEST = (32, 32)
NARROW = {"width": 16, "heads": 1}
DEEP = ("-resnet50", "-r50", "-r101", "-released")
NETWORKS = [entry for entry in ENTRIES if entry.is_network]
TRAINED = [entry for entry in NETWORKS if not entry.is_floor]
# Parameters that no loss can reach.
DEAD = (
    "key.bias",  # adds the same to every logit of a query, which softmax takes out
    "k_proj.bias",
    ".unused.",  # the released network's branches that nothing calls
    # DETR's queries start as zeros: all values of the first self-attention are equal, whatever the weights.
    *(f"decoder.layers.0.self_attn.{part}_proj." for part in "qkv"),
)
Toy = Callable[..., tuple[Categories, Batch]]


@pytest.fixture
def toy(toy_categories: Categories, toy_batch: Callable[..., Batch]) -> Toy:
    """`toy(task, size, void=False)`: two images and their categories, as the task sees them."""

    def make(task: Task, size: tuple[int, int], void: bool = False) -> tuple[Categories, Batch]:
        batch = toy_batch(size, void)
        if task != "instance":
            return toy_categories, batch
        background = 2  # all stuff is one class
        batch.semantic[(batch.semantic > background) & (batch.semantic != VOID)] = background
        return Categories(toy_categories.entries[: background + 1]), batch

    return make


def smallest(entry: Entry) -> tuple[int, int]:
    return entry.sizes[0] if entry.sizes else SMALLEST


def narrow(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in NARROW.items() if key in entry.options}


def new(entry: Entry, categories: Categories, size: tuple[int, int], task: Task, seed: int = 0) -> SegmentationModel:
    torch.manual_seed(seed)
    return build(entry.name, categories, size, task, **narrow(entry))


def total(model: SegmentationModel, batch: Batch) -> Tensor:
    terms = model.loss(model(batch.images), batch)
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
    return torch.stack(list(terms.values())).sum()


def shaken(model: SegmentationModel) -> SegmentationModel:
    """Away from where weights start at zero and stop gradients by that alone."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.train()


def assert_all_learn(model: SegmentationModel, batch: Batch) -> None:
    total(model, batch).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if not any(part in name for part in DEAD):
            assert gradient is not None, name
            assert bool(gradient.any()), f"{name} has a gradient of zero"
        assert gradient is None or bool(gradient.isfinite().all()), name


def one_image(batch: Batch) -> Batch:
    return Batch(batch.images[1:], batch.semantic[1:], batch.segments[1:], batch.tables[1:])


def case(entry: Entry, *values: Any, late: bool = False) -> Any:
    name = "-".join([entry.name, *(f"{height}x{width}" for height, width in values)])
    return pytest.param(entry, *values, id=name, marks=[pytest.mark.slow] * late)


def is_deep(entry: Entry) -> bool:
    return entry.name.endswith(DEEP)


def at_every_size(entries: list[Entry], late: Callable[[Entry, tuple[int, int]], bool]) -> Any:
    pairs = [(entry, size) for entry in entries for size in entry.sizes or SIZES]
    return pytest.mark.parametrize(("entry", "size"), [case(e, size, late=late(e, size)) for e, size in pairs])


@at_every_size(TRAINED, late=lambda entry, size: is_deep(entry) and size != smallest(entry))
def test_every_live_parameter_gets_a_gradient_at_every_size(entry: Entry, size: tuple[int, int], toy: Toy) -> None:
    categories, batch = toy("panoptic", size)
    if max(size) == 128 and not entry.sizes:
        batch = one_image(batch)
    assert_all_learn(shaken(new(entry, categories, size, "panoptic")), batch)


@at_every_size([entry for entry in TRAINED if narrow(entry)], late=lambda _, __: True)
def test_the_networks_train_in_their_full_width_too(entry: Entry, size: tuple[int, int], toy: Toy) -> None:
    categories, batch = toy("panoptic", size)
    torch.manual_seed(0)
    assert_all_learn(shaken(build(entry.name, categories, size)), one_image(batch))


by_task = pytest.mark.parametrize("task", TASKS)
each = pytest.mark.parametrize("entry", [case(entry, late=is_deep(entry)) for entry in NETWORKS])


@by_task
@each
def test_one_seed_gives_one_network_and_one_loss_for_each_task(entry: Entry, task: Task, toy: Toy) -> None:
    size = smallest(entry)
    categories, batch = toy(task, size)
    seen = []
    for _ in range(2):
        model = new(entry, categories, size, task, seed=5).train()
        state = {key: value.clone() for key, value in model.state_dict().items()}
        seen.append((state, None if entry.is_floor else float(total(model, batch).detach())))
    (state, loss), (state_again, loss_again) = seen
    assert loss == loss_again
    assert all(torch.equal(value, state_again[key]) for key, value in state.items())


@by_task
@each
def test_images_without_a_label_give_a_finite_loss_and_gradients(entry: Entry, task: Task, toy: Toy) -> None:
    size = smallest(entry)
    categories, empty = toy(task, size, void=True)
    model = new(entry, categories, size, task)
    if entry.is_floor:
        model.fit(empty)  # type: ignore[operator]
        return
    for mode in (True, False):
        total(model.train(mode), empty).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


@each
def test_a_saved_network_gives_the_same_outputs_when_loaded(entry: Entry, toy: Toy) -> None:
    size = smallest(entry)
    categories, batch = toy("panoptic", size)
    model, other = (new(entry, categories, size, "panoptic", seed).eval() for seed in (0, 1))
    for one in (model, other):
        if entry.is_floor:
            one.fit(batch if one is model else toy("panoptic", size, void=True)[1])  # type: ignore[operator]
    with torch.no_grad():
        expected, before = model(batch.images), other(batch.images)
        other.load_state_dict(model.state_dict())
        found = other(batch.images)
    assert any(not torch.equal(before[key], value) for key, value in expected.items())
    assert all(torch.equal(found[key], value) for key, value in expected.items())


@by_task
@each
def test_an_untrained_network_predicts_what_its_task_has(entry: Entry, task: Task, toy: Toy) -> None:
    size = smallest(entry)
    categories, batch = toy(task, size)
    model = new(entry, categories, size, task).eval()
    if entry.is_floor:
        model.fit(batch)  # type: ignore[operator]
    with torch.no_grad():
        outputs = model(batch.images)
        predictions = model.decode(outputs)
    assert outputs
    assert all(isinstance(value, Tensor) and len(value) == 2 for value in outputs.values())
    assert len(predictions) == 2
    for prediction in predictions:
        count = len(prediction.scores)
        assert prediction.semantic.shape == prediction.panoptic.shape == size
        assert prediction.semantic.dtype == prediction.panoptic.dtype == prediction.categories.dtype == torch.int64
        assert set(prediction.semantic.unique().tolist()) <= set(range(len(categories)))
        assert set(prediction.panoptic.unique().tolist()) - {0} == set(prediction.segments)
        assert sorted(prediction.segments) == list(range(1, len(prediction.segments) + 1))
        assert all(s.category in range(len(categories)) and 0 <= s.score <= 1 for s in prediction.segments.values())
        assert prediction.masks.shape == (count, *size)
        assert prediction.masks.dtype == torch.bool
        assert prediction.categories.shape == (count,)
        assert set(prediction.categories.tolist()) <= {0, 1}
        assert prediction.scores.dtype == torch.float32
        assert all(0 <= score <= 1 for score in prediction.scores.tolist())
        assert count <= (0 if task == "semantic" else 100)


@each
def test_the_optimiser_gets_every_parameter_once(entry: Entry, toy: Toy) -> None:
    categories, _ = toy("panoptic", smallest(entry))
    model = new(entry, categories, smallest(entry), "panoptic")
    groups: list[Any] = model.parameter_groups(1e-3, 0.1)
    optimizer = torch.optim.SGD([*groups, {"params": [nn.Parameter(torch.zeros(1))]}])  # refuses a parameter twice
    given = [id(p) for group in optimizer.param_groups[:-1] for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())
