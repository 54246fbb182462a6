"""Can this machine run the benchmark, and is what it holds intact? Packages, devices, memory, disk, data, results."""

from __future__ import annotations

import importlib
import os
import platform
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from bench.data.catalog import DATASETS, DataRoots, Missing, find
from bench.data.prepared import Prepared
from bench.data.source import Source
from bench.data.verified import recall
from bench.data.verify_prepared import verify_hashes
from bench.disk import amount, free_bytes
from bench.errors import UserError
from bench.execute.local import count_gpus
from bench.intact import extent, faults
from bench.store import Store

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
LEAST_MEMORY = 2 << 30  # a U-Net at 64x64 peaks at 1.5 GiB, libraries included (attempts of results/)
LEAST_DISK = 3 * 10**9  # one run of the largest network: its weights and checkpoints


class Finding(NamedTuple):
    """`text` ends with what to do where it is not ok."""

    ok: bool
    text: str


def examine(roots: DataRoots, prepared: Path, results: Path, deep: bool = False) -> Iterator[Finding]:
    """One finding after the other. A dataset that is absent is no fault: `scenes` is always there.

    deep: prepared data and records are read whole, and the metrics computed again.
    """
    yield Finding(True, f"python {platform.python_version()}")
    for distribution, module in PACKAGES.items():
        yield _package(distribution, module)
    yield _fitting()
    yield _devices()
    yield _memory()
    for what, folder in (("prepared data", prepared), ("results", results)):
        yield _disk(what, folder)
    for name in dict.fromkeys((*DATASETS, *roots.paths)):
        yield _dataset(name, roots, prepared)
    yield from _prepared(prepared, deep)
    yield from _results(Store(results), deep)


def _package(distribution: str, module: str) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
        return Finding(True, f"{distribution} {version(distribution)}")
    except (ImportError, PackageNotFoundError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        return Finding(False, f"{distribution}: {type(error).__name__}: {reason}; install the project again")


def _fitting() -> Finding:
    """Asks torchvision for an operator of its own, which is compiled against one version of torch and CUDA."""
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except Exception as error:  # whatever a mismatch of compiled code raises
        reason = " ".join(str(error).split())[:200]
        return Finding(
            False,
            f"torch and torchvision do not fit ({reason}); install both together: "
            "`python -m pip install --upgrade torch torchvision`",
        )
    return Finding(True, "torch and torchvision fit")


def _devices() -> Finding:
    cores, cards = len(os.sched_getaffinity(0)), count_gpus()
    text = f"{cores} processor cores, {cards} CUDA devices"
    try:
        import torch

        usable = torch.cuda.device_count() if cards else 0
    except (ImportError, OSError, RuntimeError):
        return Finding(True, text)  # that torch cannot be imported is said above
    if usable < cards:
        return Finding(False, f"{text}, of which torch can use {usable}; install a torch that is built for this driver")
    return Finding(True, text)


def _memory() -> Finding:
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return Finding(True, "free memory: not known on this system")
    if free < LEAST_MEMORY:
        return Finding(
            False, f"{amount(free)} of memory free, small runs take {amount(LEAST_MEMORY)}; end other programs"
        )
    return Finding(True, f"{amount(free)} of memory free")


def _disk(what: str, folder: Path) -> Finding:
    free = free_bytes(folder.resolve())
    text = f"{amount(free)} free where {what} lie ({folder})"
    if not os.access(next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists()), os.W_OK):
        return Finding(False, f"{folder}: {what} cannot be written there; name another folder")
    if free < LEAST_DISK:
        return Finding(False, f"{text}; one run of the largest network takes {amount(LEAST_DISK)}: make room")
    return Finding(True, text)


def _dataset(name: str, roots: DataRoots, prepared: Path) -> Finding:
    try:
        entry = find(name, roots)
        if isinstance(entry, Missing):
            return Finding(True, f"{name}: not here ({entry.what}); {entry.how}")
        splits = ", ".join(f"{split} {len(entry.ids(split))}" for split in entry.splits)
        return _verified(entry, f"{name}: {splits} images", prepared)
    except UserError as error:
        return Finding(False, f"{name}: {error}")


def _verified(source: Source, text: str, prepared: Path) -> Finding:
    verify = f"`bench data verify {source.name}`"
    if source.name == "scenes":
        return Finding(True, f"{text}, drawn by the program")
    problems = recall(source, prepared)
    if problems is None:
        return Finding(True, f"{text}, not verified; {verify} reads every file")
    if problems:
        return Finding(False, f"{text}, with {problems} problems when it was verified; {verify} names each")
    return Finding(True, f"{text}, verified")


def _prepared(root: Path, deep: bool) -> Iterator[Finding]:
    folders = sorted(path.parent for path in root.glob("*/[!.]*/manifest.json"))
    problems = 0
    for folder in folders:
        found = verify_hashes(folder) if deep else _opened(folder)
        problems += bool(found)
        if found:
            yield Finding(False, f"{folder}: {found[0]}; remove that folder, `bench run` prepares it again")
    how = "as their hashes say" if deep else "with their manifests; --deep reads them whole"
    if folders and not problems:
        yield Finding(True, f"{len(folders)} prepared splits, {how}")


def _opened(folder: Path) -> list[str]:
    try:
        Prepared(folder)
    except UserError as error:
        return [str(error)]
    return []


def _results(store: Store, deep: bool) -> Iterator[Finding]:
    runs = store.run_ids()
    damaged = 0
    for fault in faults(store, deep):
        damaged += 1
        yield Finding(False, f"{fault.run_id}: {fault.what}; {fault.remedy}")
    begun = sum(not (path.parent / "status.json").exists() for path in store.root.glob("*/spec.json"))
    if begun:
        yield Finding(True, f"{begun} runs begun and not ended; the command that began them goes on from there")
    how = "all readable; --deep computes their metrics again"
    if deep:
        hashed, computed = extent(store)
        how = f"all readable; of {hashed} every file has its hash, of {computed} the metrics follow from images.parquet"
    if runs and not damaged:
        yield Finding(True, f"{len(runs)} records, {how}")
