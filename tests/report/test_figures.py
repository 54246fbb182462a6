"""How methods are drawn: one look each in every figure, the paper hollow, spread as whiskers, bars side by side."""

from dataclasses import replace

import pytest
from matplotlib import rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bench.report.drawing.figures import GROUP, Axis, Chart, Line, Panel, _draw_panel, _place_of_bar
from bench.report.drawing.looks import GREY, LOOKS, look_of
from models.registry import REGISTRY

TABLES = (  # of the paper: what shares a figure
    ("unet", "detr-r50", "detr-r101", "mask2former-r50", "mask2former-r101", "maskattn-unet"),
    ("unet", "maskattn-unet", "maskattn-unet-encoder", "maskattn-unet-decoder", "maskattn-unet-none"),
    ("u-transformer", "self-attention-unet", "maskattn-unet"),
)
SHARED = Axis("x")


def drawn(panel, of_chart=SHARED):
    with rc_context():
        axes = Figure().subplots()
        return axes, _draw_panel(axes, panel, panel.x or of_chart)


def test_every_network_has_a_look_and_no_two_the_same():
    assert set(LOOKS) == set(REGISTRY)
    assert len({(look.color, look.marker) for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("models", TABLES)
def test_networks_of_one_table_differ_in_colour_marker_and_dash(models):
    for part in ("color", "marker", "dash"):
        assert len({str(getattr(LOOKS[model], part)) for model in models}) == len(models), part


def test_a_part_of_a_network_looks_like_it_and_a_stranger_like_no_other():
    assert look_of("detr-r50-detector") == LOOKS["detr-r50"]
    assert look_of("gone").color == GREY
    assert look_of("gone") not in LOOKS.values()


def test_a_method_keeps_its_colour_wherever_it_stands_and_the_papers_is_hollow():
    ours = Line("ours", ((1, 2), (2, 3)), method="unet")
    panel = Panel("", "y", (Line("other", ((1, 1),)), ours, replace(ours, label="paper", printed=True)))
    _, names = drawn(panel)
    assert to_hex(names["ours"].get_color()) == LOOKS["unet"].color
    assert names["paper"].get_color() == names["ours"].get_color()
    assert names["paper"].get_marker() == names["ours"].get_marker() == "s"
    assert (names["paper"].get_markerfacecolor(), names["paper"].get_linestyle()) == ("none", "None")


def test_places_count_only_lines_that_name_no_method():
    lines = (Line("a", ((1, 2),), method="unet"), Line("b", ((1, 2),)), Line("c", ((1, 2),)))
    _, names = drawn(Panel("", "y", lines))
    assert [to_hex(names[name].get_color()).upper() for name in "bc"] == ["#0072B2", "#D55E00"]


def test_a_line_without_a_name_is_not_in_the_legend():
    assert list(drawn(Panel("", "y", (Line("", ((1, 2),)), Line("a", ((1, 2),)))))[1]) == ["a"]


def test_whiskers_reach_one_standard_deviation_both_ways():
    axes, _ = drawn(Panel("", "y", (Line("a", ((1, 10), (2, 20)), errors=(0.0, 3.0)),)))
    (segments,) = (collection.get_segments() for collection in axes.collections)
    assert [[tuple(point) for point in segment] for segment in segments] == [[(1, 10), (1, 10)], [(2, 17), (2, 23)]]
    assert not drawn(Panel("", "y", (Line("a", ((1, 10),), errors=(0.0,)),)))[0].collections


def test_bars_stand_side_by_side_around_their_place():
    assert [_place_of_bar(n, 2) for n in (0, 1)] == [(-GROUP / 4, GROUP / 2), (GROUP / 4, GROUP / 2)]
    lines = (Line("ours", ((0, 5), (1, 6)), method="unet", errors=(1.0, 0.0)), Line("paper", ((0, 4),), printed=True))
    axes, names = drawn(Panel("", "y", lines, bars=True))
    ours, paper = names["ours"].patches, names["paper"].patches
    assert [bar.get_height() for bar in (*ours, *paper)] == [5, 6, 4]
    assert ours[0].get_x() + ours[0].get_width() == pytest.approx(paper[0].get_x())
    assert (paper[0].get_hatch(), paper[0].get_facecolor()[3]) == ("////", 0)
    assert to_hex(ours[0].get_facecolor()) == LOOKS["unet"].color
    assert [tuple(point) for point in axes.collections[0].get_segments()[0]] == [(-0.2, 4), (-0.2, 6)]


def test_a_panel_may_have_an_x_axis_of_its_own():
    line = Line("a", ((1, 10), (100, 20)))
    axes, _ = drawn(Panel("", "y", (line,), x=Axis("time (s)", ((1, "1"), (100, "100")), "log10")))
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "time (s)")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "100"]
    assert drawn(Panel("", "y", (line,)), Axis("epoch", (), "integer"))[0].get_xlabel() == ""  # the chart names it


def test_charts_with_axes_of_their_own_and_bars_are_drawn_alike_twice():
    panels = (
        Panel("", "a (%)", (Line("ours", ((0, 5),), method="unet"),), bars=True, x=Axis("method", ((0, "U-Net"),))),
        Panel("", "b (%)", (Line("ours", ((1, 5), (2, 6)), errors=(0.1, 0.2)),), x=Axis("f", (), "log10")),
        Panel("", "nothing yet", (), x=Axis("f")),
    )
    chart = Chart("n", "alt", "", "", (), (panels,))
    assert chart.draw() == chart.draw()
