"""All that one network costs at one size, as a record: counted, its memory followed, its passes timed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench.machine import git_commit, processor, versions
from bench.measure.cost import count_flops, numbered_categories
from bench.measure.cost_records import CLASSES, DETECTORS, ONLY_COUNTED, TASK, CostRecord, options_of
from bench.measure.detector import build_detector
from bench.measure.latency import measure_latency
from bench.measure.memory import measure_memory
from bench.measure.products import attention_products
from models.registry import build, find

PACKAGES = ("torch", "transformers", "timm", "fvcore")
THREADS = 1  # defined on any machine, and least disturbed by what else runs on it
MOST_PRODUCTS = 10**12  # multiply-adds of attention's products that are run; one core does about 5e10 a second
MOST_TIMED = 300e9  # multiply-adds of a pass that is repeated for its time


def measure_network(name: str, size: tuple[int, int]) -> CostRecord:
    """The cost of a registered network, or of a detector, at (height, width), under its default options."""
    facts: dict[str, Any] = {
        "model": name,
        "options": options_of(name),
        "task": TASK,
        "classes": CLASSES,
        "size": size,
        "versions": versions(*PACKAGES),
        "git_commit": git_commit(),
    }
    base = DETECTORS.get(name, name)
    if refusal := find(base).refusal(size, facts["options"]):
        reason = f"refused: {refusal.removeprefix(f'{base} ')}"
        return CostRecord(**facts, parameters=None, flops=None, reason=reason)
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = _build(name, size).eval().to(memory_format=torch.channels_last)
    facts["parameters"] = sum(p.numel() for p in model.parameters())
    try:
        return CostRecord(**facts, **_measure(model, size))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        return CostRecord(**facts, flops=None, reason="not run: needs more memory than a measurement may take")


def _build(name: str, size: tuple[int, int]) -> nn.Module:
    categories = numbered_categories(CLASSES)
    return build_detector(DETECTORS[name], categories, size) if name in DETECTORS else build(name, categories, size)


def _measure(model: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """Fields of the record. Counting comes first: it is the pass that everything after needs to be warm."""
    products = attention_products(model, size)
    if products > MOST_PRODUCTS:
        limit = f"more than the {MOST_PRODUCTS / 1e12:g} T that is run"
        return {"flops": None, "reason": f"not run: attention's products alone are {products / 1e12:.1f} T, {limit}"}
    images = torch.rand(1, 3, *size).contiguous(memory_format=torch.channels_last)
    flops, uncounted = count_flops(model, images)
    found: dict[str, Any] = {"flops": flops, "uncounted": uncounted}
    if size in ONLY_COUNTED:
        return found | {"reason": "only counted at this size"}
    memory = measure_memory(model, images)
    found |= {"weights_bytes": memory.weights, "peak_memory_bytes": memory.peak}
    if flops > MOST_TIMED:
        return found | {"reason": f"not timed: a pass takes more than {MOST_TIMED / 1e9:g} G"}
    with torch.no_grad():
        return found | {"latency": measure_latency(lambda: model(images), THREADS, processor())}
