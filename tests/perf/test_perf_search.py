"""Readings counted a second, in arrays and one by one."""

from __future__ import annotations

import itertools
import sys
import time

import pytest

from bench.measure.analytic import attention, pixels
from bench.measure.counts import groups
from bench.measure.readings import head_of, module_of, places_of, readings, settings_of, trunk_of
from bench.measure.search_records import Target
from bench.measure.tally import Tally

HD = (128, 128)
NAME = "maskattn-unet"
NETWORKS = 300


@pytest.mark.perf
def test_readings_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    family = readings().families[NAME]
    start = time.process_time()
    tally = Tally(Target(parameters_m=46, flops_g=11))
    for group in itertools.islice(groups(NAME, family, HD), NETWORKS):
        tally.add(group)
    rate = sum(tally.tried.values()) / (time.process_time() - start)

    whole = family.only()
    start, count = time.process_time(), 0
    while time.process_time() - start < 0.5:
        trunk = trunk_of(settings_of(tuple(values[0] for values in whole.trunk.values())))
        settings = settings_of(tuple(values[0] for values in whole.modules.values()))
        cost = trunk.cost(HD) + head_of(settings_of(tuple(v[0] for v in whole.head.values()))).cost(64, HD)
        for _, level, channels in places_of(trunk, settings):
            cost += attention(module_of(settings), channels, pixels(HD, level))
        count += 1
    alone = count / (time.process_time() - start)
    with capsys.disabled():
        sys.stdout.write(f"\n{rate:,.0f} readings a second of the processor, {rate / alone:,.0f} times one by one\n")
    assert rate > 100 * alone
