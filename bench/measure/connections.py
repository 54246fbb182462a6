"""What feeds what: from which modules' outputs the input of a module is made, followed through one forward pass.

Between modules a tensor may be pooled, joined or added to another; all that it was made of counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

IMAGES = "images"  # the network's own input


class Connections(TorchFunctionMode):
    """While it is entered, follows the tensors of a forward pass over `images` between `modules` (name -> module).

    `inputs` has for each module that was called the names of the innermost modules whose outputs its arguments were
    made of, in the order of the pass; IMAGES stands for `images`. A module that returns its input is no maker.
    """

    def __init__(self, modules: Mapping[str, nn.Module], images: Tensor) -> None:
        super().__init__()
        self.inputs: dict[str, tuple[str, ...]] = {}
        self._modules = modules
        self._places: dict[str, int] = {IMAGES: 0}  # in the order of the pass
        self._made: Any = WeakTensorKeyDictionary({images: IMAGES})  # tensor -> the module that returned it
        self._mixed: Any = WeakTensorKeyDictionary()  # tensor -> all that it was made of between modules
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Connections:
        for name, module in self._modules.items():
            self._hooks.append(module.register_forward_pre_hook(self._before(name), with_kwargs=True))
            self._hooks.append(module.register_forward_hook(self._after(name)))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        sources = self._sources((args, kwargs))
        returned = func(*args, **(kwargs or {}))
        changed = args[0] if func is Tensor.__setitem__ else returned
        for tensor in _tensors(changed):
            self._made.pop(tensor, None)
            self._mixed[tensor] = sources
        return returned

    def _before(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
            found = self._sources((args, kwargs)) | set(self.inputs.get(name, ()))  # it may be called twice
            self.inputs[name] = tuple(sorted(found, key=self._places.__getitem__))

        return hook

    def _after(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            self._places.setdefault(name, len(self._places))
            for tensor in _tensors(output):
                if tensor not in self._made:
                    self._made[tensor] = name

        return hook

    def _sources(self, values: Any) -> frozenset[str]:
        found: set[str] = set()
        for tensor in _tensors(values):
            found |= {self._made[tensor]} if tensor in self._made else self._mixed.get(tensor, frozenset())
        return frozenset(found)


def _tensors(values: Any) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
