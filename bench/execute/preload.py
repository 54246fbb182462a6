"""What torch and Arrow import in the midst of a run, imported by the fork server: else every run imports it anew.

The first optimiser imports torch._dynamo. Arrow imports pandas, where it is installed, with the first table that it
converts. Together they take longer than torch itself.
"""

from __future__ import annotations

import importlib
import importlib.util

import torch._dynamo  # noqa: F401

if importlib.util.find_spec("pandas"):
    importlib.import_module("pandas")
