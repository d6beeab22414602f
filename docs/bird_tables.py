"""Tables of the benchmark on birds: what was measured beside what the three papers print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from table_text import gain, markdown_table, share

Figures = Mapping[str, Any]

_C_TABLE_1 = {
    "uniform": (0.543, 0.275),
    "GC ST": (0.615, 0.380),
    "GC all": (0.643, 0.416),
    "GC top-50": (0.760, 0.534),
    "GC++ ST": (0.772, 0.543),
    "GC++ all": (0.767, 0.538),
    "GC++ top-50": (0.776, 0.549),
}
_E_TABLE_1 = {
    "uniform": (0.522, 0.274, None),
    "EmbeddingCAM single point": (0.776, 0.543, 0.776),
    "EmbeddingCAM single point top-50": (0.757, 0.520, None),
    "EmbeddingCAM mean proxy": (0.789, 0.551, 0.768),
    "EmbeddingCAM mean proxy top-50": (0.764, 0.524, None),
}
_L_TABLE_3 = {"Grad-CAM vanilla": 0.1615, "Grad-CAM abs": 0.2949, "L2-CAF": 0.3928}
_PUBLISHED_RETRIEVAL = {"recall_at_1": 0.5006, "nmi": 0.601}


def _rows(figures: Figures) -> dict[str, Mapping[str, Any]]:
    return {row["method"]: row for row in figures["methods"]}


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _spread(row: Mapping[str, Any]) -> str:
    return f"{row['ratio']:.3f}±{row['ratio_spread']:.3f}"


def set_up(figures: Figures) -> str:
    """What was trained and tested on what."""
    data, found = figures["data"], figures["retrieval"]
    seeds = figures["seeds"]
    parts = ", ".join(
        f"{words} classes {data[name]['classes'][0]} to {data[name]['classes'][1]} "
        f"({data[name]['pictures']:,} pictures)"
        for name, words in (
            ("train", "trained on"),
            ("held", "everything chosen on"),
            ("test", "reported once on"),
        )
    )
    recall, nmi = ([run[name] for run in found] for name in ("recall_at_1", "nmi"))
    masks = "" if data["test"]["masks"] else " These pictures come without segmentation masks."
    limits = figures["references"]["limits"]
    box = figures["references"]["centre_box"]
    return "\n\n".join(
        [
            f"{parts[0].upper()}{parts[1:]}; mean of {seeds} seeds.{masks} Backbone: "
            f"{figures['backbone']['name']}, frozen ({figures['backbone']['deviation']}); a linear 128-D "
            f"embedding. Recall@1 {sum(recall) / seeds:.3f}, NMI {sum(nmi) / seeds:.3f} on the test classes.",
            f"A map of 7 x 7 cells reaches a ratio of at most {limits['7']:.3f}, one of 14 x 14 of "
            f"{limits['14']:.3f}. The best box in the middle of the picture "
            f"({100 * box['share']:.0f} % of its sides, chosen like the rest) localises "
            f"{share(box['iou'])} %; one of 60 % {share(box['iou_60'])} %.",
            f"Command: `{figures['command']}`. Machine: {figures['machine']['processor']}, "
            f"{figures['machine']['cores']} cores.",
        ]
    )


def methods(figures: Figures) -> str:
    """Every method with every score."""
    body = [
        [
            row["method"],
            _three(row["ratio"]),
            _three(row["mask_ratio"]),
            _three(row["pointing"]),
            f"{share(row['iou'])} at {row['threshold']:g}",
            share(row["iou_and_retrieved"]),
            f"{row['sparsity']:.2f}",
        ]
        for row in figures["methods"]
    ]
    header = ["method", "box ratio", "mask ratio", "pointing", "IoU@0.5, threshold", "and R@1 right"]
    strict = ", ".join(f"{name} {value:.3f}" for name, value in figures["max_box_accuracy"].items())
    table = markdown_table([*header, "sparsity"], body)
    return f"{table}\n\nMaxBoxAccV2 on the whole picture, first seed: {strict}."


def paper_c(figures: Figures) -> str:
    """C Table 1."""
    rows = _rows(figures)
    body = []
    for name, (box, mask) in _C_TABLE_1.items():
        against, other = (rows.get(f"{name}, {sense}", rows.get(name)) for sense in ("against", "for"))
        assert against is not None
        assert other is not None
        body.append(
            [
                name,
                _three(box),
                _spread(against),
                _spread(other),
                _three(mask),
                _three(against["mask_ratio"]),
                _three(against["pointing"]),
                _three(other["pointing"]),
            ]
        )
    header = ["C Table 1", "box, paper", "box, *against*", "box, *for*", "mask, paper", "mask, *against*"]
    table = markdown_table([*header, "pointing, *against*", "pointing, *for*"], body)
    gaps = [
        [name, *(gain(figures["orderings"][sense][name]) for sense in ("against", "for"))]
        for name in figures["orderings"]["against"]
    ]
    ordering = markdown_table(["box ratio, points (95 % interval)", "*against*", "*for*"], gaps)
    return f"{table}\n\n{ordering}"


def figure_7(figures: Figures) -> str:
    """C Fig. 7: channels kept and k-means centres."""
    parts = []
    for name, title in (("channels", "channels kept"), ("centres", "k-means centres")):
        keys = list(figures[name]["against"])
        body = [[sense, *(_three(figures[name][sense][key]) for key in keys)] for sense in ("against", "for")]
        parts.append(markdown_table([f"box ratio by {title}", *keys], body))
    return "\n\n".join(parts)


def paper_e(figures: Figures) -> str:
    """E Table 1."""
    rows = _rows(figures)
    body = [
        [
            name,
            _three(box),
            _three(rows[name]["ratio"]),
            _three(mask),
            _three(rows[name]["mask_ratio"]),
            _three(overlap),
            _three(rows[name]["iou"]),
        ]
        for name, (box, mask, overlap) in _E_TABLE_1.items()
    ]
    header = ["E Table 1", "box, paper", "box", "mask, paper", "mask", "IoU@0.5, paper", "IoU@0.5"]
    return markdown_table(header, body)


def paper_l(figures: Figures) -> str:
    """L Table 3, CUB with a triplet loss and ResNet-50."""
    rows, found = _rows(figures), figures["retrieval"]
    body = [
        [f"{name}, localised and R@1 right", share(published), share(rows[name]["iou_and_retrieved"])]
        for name, published in _L_TABLE_3.items()
    ]
    for name, title in (("recall_at_1", "Recall@1"), ("nmi", "NMI")):
        mean = sum(run[name] for run in found) / len(found)
        body.insert(0, [title, share(_PUBLISHED_RETRIEVAL[name]), share(mean)])
    return markdown_table(["L Table 3, CUB", "paper, %", "here, %"], body)


def best(figures: Figures) -> str:
    """housevis's own method against the mean of the feature map."""
    found, rows = figures["best"], _rows(figures)
    own, plain = rows[found["method"]], rows["mean feature map"]
    body = [
        ["box ratio", _three(plain["ratio"]), _three(own["ratio"]), gain(found["ratio_gain"])],
        ["IoU@0.5, %", share(plain["iou"]), share(own["iou"]), gain(found["iou_gain"])],
        ["pointing game", _three(plain["pointing"]), _three(own["pointing"]), gain(found["pointing_gain"])],
    ]
    table = markdown_table(["", "mean feature map", found["method"], "gain in points, 95 % interval"], body)
    nearest = found["nearest_over_random"]
    return "\n\n".join(
        [
            table,
            f"Points above the box in the middle: {100 * found['over_centre_box']:+.1f}. "
            f"Weights of the nearest picture over those of a random one: {gain(nearest['ratio'])} points "
            f"of the ratio, {gain(nearest['iou'])} points of IoU@0.5.",
        ]
    )


def transfer(figures: Figures) -> str:
    """Where the weights come from, and how far the maps agree with back-propagated ones."""
    body = []
    for sense in ("against", "for"):
        for source, row in figures["transfer"][sense].items():
            agree = [row.get("rank_correlation"), row.get("hot_overlap")]
            body.append([sense, source, _three(row["ratio"]), *(_three(value) for value in agree)])
    header = ["sense", "weights of", "box ratio", "rank correlation with back-propagated"]
    return markdown_table([*header, "overlap of the hottest fifth"], body)


def randomisation(figures: Figures) -> str:
    """Rank correlation with the maps of random networks."""
    found = figures["randomisation"]
    body = [[name, f"{row['head']:.2f}", f"{row['trunk']:.2f}"] for name, row in found["methods"].items()]
    return markdown_table(["rank correlation with the map of", "a random head", "a random trunk"], body)


def removal(figures: Figures) -> str:
    """Insertion, deletion and ROAD."""
    found = figures["removal"]
    names: Sequence[str] = list(next(iter(found["methods"].values())))
    body = [[method, *(_three(row[name]) for name in names)] for method, row in found["methods"].items()]
    return markdown_table([f"first {found['pictures']} pictures", *names], body)
