"""On the PYTHONPATH of a `bench run`: Python imports this first, in every process.

It registers networks that misbehave, as a user's own might; nothing in bench/ or models/ knows of them.
"""

from __future__ import annotations

from models import registry

DEEDS = (
    "behave",
    "fail",
    "exit",
    "leave",
    "segfault",
    "take-memory",
    "hang",
    "be-killed",
    "fill-disk",
    "remove-folder",
)
LOGS = ("first", "second", "third", "fourth")

for deed in DEEDS:
    builder = f"misbehaving:{deed.replace('-', '_')}"
    registry.REGISTRY[deed] = registry.Entry(deed, deed, "floor", builder, "for tests")
for log in LOGS:
    registry.REGISTRY[log] = registry.Entry(log, log, "floor", f"misbehaving:{log}", "for tests")
