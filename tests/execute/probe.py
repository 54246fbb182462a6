"""`bench`, whose runs note what their processes import, a file each in the folder NOTES."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.cli import main
from bench.execute import child

_execute = child._execute


def noted(*arguments: Any) -> None:
    before = set(sys.modules)
    _execute(*arguments)
    note = {"server": os.getppid(), "torch_before": "torch" in before, "imported": sorted(set(sys.modules) - before)}
    Path(os.environ["NOTES"], f"{os.getpid()}.json").write_text(json.dumps(note))


if __name__ == "__main__":
    from tests.execute import probe

    child._execute = probe.noted
    sys.exit(main(sys.argv[1:]))
