"""Whether two machines have the same code: what a node runs must be what the driver planned. Imports no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from bench.errors import UserError
from bench.files import sha256_of
from bench.machine import PROJECT

FOLDERS = ("bench", "models")
KINDS = (".py", ".yaml", ".json")
PACKAGES = ("torch", "numpy", "transformers", "timm")


@dataclass(frozen=True)
class Code:
    """`files`: the sha256 of each source file, by its path in the project; `versions`: of the packages."""

    files: dict[str, str]
    versions: dict[str, str]

    @property
    def short(self) -> str:
        """A name for this state of the code."""
        return hashlib.sha256(repr((sorted(self.files.items()), sorted(self.versions.items()))).encode()).hexdigest()[
            :12
        ]


@cache
def code_here() -> Code:
    """As it is when it is first asked for: a process does not import a file again that changes later."""
    sources = (path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*")) if path.suffix in KINDS)
    return Code(
        files={path.relative_to(PROJECT).as_posix(): sha256_of(path) for path in sources},
        versions={name: _version(name) for name in PACKAGES},
    )


def check_same(expected: Code, found: Code) -> None:
    """Raises UserError with the first thing that differs. `found` is this machine's."""
    for name, wanted in expected.versions.items():
        if found.versions.get(name) != wanted:
            raise UserError(f"it has {name} {found.versions.get(name)}, this command {wanted}; install the same there")
    names = sorted(expected.files.keys() | found.files.keys())
    differing = [name for name in names if expected.files.get(name) != found.files.get(name)]
    if differing:
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise UserError(
            f"its {differing[0]}{more} is not this command's; install the same version of the project there"
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
