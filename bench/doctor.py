"""Can this machine run the benchmark? Packages, devices, data, disk."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from bench.data.catalog import DATASETS, DataRoots, Missing, find
from bench.display import amount
from bench.execute.local import count_gpus, free_bytes

PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers.models.mask2former.modeling_mask2former",
    "timm": "timm",
    "fvcore": "fvcore.nn",
    "pycocotools": "pycocotools.cocoeval",
    "scipy": "scipy.optimize",
    "pyarrow": "pyarrow.parquet",
}  # distribution -> the module of it that a run needs


class Finding(NamedTuple):
    ok: bool
    text: str


def examine(roots: DataRoots, prepared: Path) -> Iterator[Finding]:
    """One finding after the other. A dataset that is absent is no fault: `scenes` is always there."""
    for distribution, module in PACKAGES.items():
        yield _package(distribution, module)
    yield Finding(True, f"{len(os.sched_getaffinity(0))} processor cores, {count_gpus()} CUDA devices")
    for name in dict.fromkeys((*DATASETS, *roots.paths)):
        entry = find(name, roots)
        if isinstance(entry, Missing):
            yield Finding(True, f"{name}: not here ({entry.what}); {entry.how}")
        else:
            splits = ", ".join(f"{split} {len(entry.ids(split))}" for split in entry.splits)
            yield Finding(True, f"{name}: {splits} images")
    yield Finding(True, f"{amount(free_bytes(prepared.resolve()))} free where data are prepared")


def _package(distribution: str, module: str) -> Finding:
    try:
        importlib.import_module(module)
        return Finding(True, f"{distribution} {version(distribution)}")
    except (ImportError, PackageNotFoundError, OSError, RuntimeError) as error:
        return Finding(False, f"{distribution}: {type(error).__name__}: {error}; install the project again")
