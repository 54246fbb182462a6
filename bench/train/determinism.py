"""What keeps two equal runs on a GPU from giving equal bits: recorded with the run, since it cannot all be avoided."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

T = TypeVar("T")
# torch's words, aten/src/ATen/Context.cpp: "<operator> does not have a deterministic implementation, but you set ..."
OPERATOR = re.compile(r"^(\S+) does not have a deterministic implementation")
CUBLAS = re.compile(r"not deterministic because it uses CuBLAS")


def watched(step: Callable[[], T]) -> tuple[T, list[str]]:
    """Calls `step` in torch's deterministic mode and returns, too, the operators that torch says have no such version.

    Those that have one use it in this call alone. So the list is not all that may differ: `settings` says which modes
    the rest of the training ran in.
    """
    mode = torch.get_deterministic_debug_mode()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            result = step()
        finally:
            torch.set_deterministic_debug_mode(mode)
    texts = [str(one.message) for one in heard]
    for one, text in zip(heard, texts, strict=True):
        if not operators([text]):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return result, operators(texts)


def operators(texts: list[str]) -> list[str]:
    """The operators that torch's warnings name, each once; cuBLAS as a whole, as they do."""
    found = {match[1] for text in texts if (match := OPERATOR.match(text))}
    return sorted(found | {"cuBLAS" for text in texts if CUBLAS.search(text)})


def settings() -> dict[str, Any]:
    """The switches that decide, on a GPU, which version of an operator runs."""
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cublas_workspace_config": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }
