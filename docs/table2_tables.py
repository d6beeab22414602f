"""Tables of `benchmarks/table2.py`: C Table 2 on one database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from table_text import gain, markdown_table, share

Figures = Mapping[str, Any]

BOOSTING = "gradient-boosting"
PAPER = "rank siamese, in-sample"


def _side(row: Mapping[str, Any], side: str, figure: str = "share") -> str:
    if row[side] is None:
        return "-"
    value = row[side][figure]
    return f"{value:.3f}" if figure == "median_ratio" else share(value)


def _rows(rows: Iterable[Mapping[str, Any]], learner: str | None, regressor: str = BOOSTING) -> list[Any]:
    return [row for row in rows if row["learner"] == learner and row["regressor"] == regressor]


def paper(figures: Figures) -> str:
    """The paper's recipe: published effect and ours."""
    rows = []
    for row in _rows(figures["rows"], PAPER):
        published = row["published"]
        effect = ["-", "-", "-"]
        if published is not None:
            before, after = published["without"], published["with_visual"]
            effect = [share(before), share(after), "" if before is None else f"{100 * (after - before):+.1f}"]
        ours = [_side(row, "without"), _side(row, "with"), gain(row["gain"])]
        rows.append([row["attributes"], *effect, *ours])
    market = figures["market"]
    header = ["attributes", "paper, without", "paper, with", "paper, gain"]
    return "\n\n".join(
        [
            markdown_table([*header, "here, without", "here, with", "here, gain (95 % interval)"], rows),
            f"{market['later']:,} later sales from {market['cutoff']}, {market['train']:,} earlier ones "
            f"teach; features of {market['backbones']['own']}.",
        ]
    )


def _short_gain(row: Mapping[str, Any]) -> str:
    """The gain in points, bold where its interval lies above 0, with a down arrow where it lies below."""
    if row["gain"] is None:
        return _side(row, "with")
    text = f"{100 * row['gain']['estimate']:+.1f}"
    if row["gain"]["low"] > 0:
        return f"**{text}**"
    return f"{text} ▼" if row["gain"]["high"] < 0 else text


def learners(figures: Figures) -> str:
    """Every feature learner over every attribute set."""
    rows = figures["rows"]
    sets = list(dict.fromkeys(row["attributes"] for row in rows))
    accuracies = {found["name"]: found for found in figures["learners"]}
    alone = {row["attributes"]: row for row in _rows(rows, None)}
    table = [
        [
            "attributes alone, share",
            "",
            "",
            *(_side(alone[n], "without") if n in alone else "-" for n in sets),
        ]
    ]
    for name, found in accuracies.items():
        by_set = {row["attributes"]: row for row in _rows(rows, name)}
        table.append(
            [
                name,
                _accuracy(found, "all"),
                _accuracy(found, "comparable"),
                *(_short_gain(by_set[attributes]) for attributes in sets),
            ]
        )
    pairs = figures["ranked_pairs"]
    return "\n\n".join(
        [
            markdown_table(["features", "rank accuracy", "comparable pairs", *sets], table),
            "Gain in points of the share within ±10 % over the attributes alone, gradient boosting; for "
            "*none* the share itself. Bold: the 95 % interval lies above 0; ▼: below. Rank accuracy is of "
            f"the learner's own score on {pairs['all']:,} pairs of later sales drawn uniformly, no ties; "
            "of what the boosting makes of the features alone where there is no one score (†). Comparable "
            f"pairs lie within 2 km and within 15 % of the area ({pairs['comparable']:,} pairs).",
        ]
    )


def _accuracy(found: Mapping[str, Any], kind: str) -> str:
    accuracy = found["rank_accuracy"]
    if accuracy["score"] is not None:
        return f"{accuracy['score'][kind]:.3f}"
    return "-" if accuracy["boosted"] is None else f"{accuracy['boosted'][kind]:.3f} †"


def regressors(figures: Figures) -> str:
    """The regressors of the paper, without and with the paper's and the best features."""
    rows, best = figures["rows"], figures["selection"]["best"]
    names = list(dict.fromkeys(row["regressor"] for row in rows))
    table = []
    for attributes in dict.fromkeys(row["attributes"] for row in rows):
        cells = [attributes]
        for name in names:
            without = next((r for r in _rows(rows, None, name) if r["attributes"] == attributes), None)
            cells.append("-" if without is None else _side(without, "without"))
            for learner in (PAPER, best):
                row = next(r for r in _rows(rows, learner, name) if r["attributes"] == attributes)
                cells.append(_short_gain(row))
        table.append(cells)
    words = [name.replace("-", " ") for name in names]
    header = [part for name in words for part in (f"{name}: share without", "gain, paper's", "gain, best")]
    return markdown_table(["attributes", *header], table)


def best(figures: Figures) -> str:
    """The best features over every attribute set, later sales and blocks of land side by side."""
    found, blocks = figures["selection"], figures["blocks"]
    in_blocks = {row["attributes"]: row for row in _rows(blocks["rows"], found["best_fitted"])}
    rows = []
    for row in _rows(figures["rows"], found["best"]):
        apart = in_blocks[row["attributes"]]
        rows.append(
            [
                row["attributes"],
                _side(row, "without"),
                _side(row, "with"),
                gain(row["gain"]),
                _side(row, "without", "mdape"),
                _side(row, "with", "mdape"),
                _side(row, "without", "median_ratio"),
                _side(row, "with", "median_ratio"),
                gain(apart["gain"]) or _side(apart, "with"),
            ]
        )
    header = ["attributes", "without", "with", "gain (95 % interval)", "MdAPE without", "MdAPE with"]
    header += ["median ratio without", "median ratio with", "gain under 1-km blocks"]
    chosen = ", ".join(f"{name} {100 * value:+.2f}" for name, value in _ranked(found["mean_gain"])[:5])
    return "\n\n".join(
        [
            f"The best features are *{found['best']}*, chosen on the earlier sales alone: "
            f"{found['criterion']}. The first five, in points: {chosen}.",
            markdown_table(header, rows),
            f"Under blocks, {blocks['folds']} folds of whole squares of 1 km over all {blocks['sales']:,} "
            f"sales; the features there are *{found['best_fitted']}*, and no learner and no booster sees a "
            "sale of the blocks it is judged on. Pictures of the neighbourhood may lie in other blocks.",
        ]
    )


def draws(figures: Figures) -> str:
    """The best features' gain in the mean over draws of the sales that teach."""
    rows = [
        [
            row["attributes"],
            share(row["without"]),
            share(row["with"]),
            gain(row["gain"]),
            f"{100 * row['deviation']:.2f}",
        ]
        for row in figures["draws"]
    ]
    header = ["attributes", "without", "with", "mean gain (95 % interval)", "deviation from draw to draw"]
    return markdown_table(header, rows)


def _ranked(values: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: -item[1])


def headline(figures: Figures) -> str:
    """The README's table of real data: the paper's recipe and the best features side by side."""
    market, found = figures["market"], figures["selection"]["best"]
    by_set = {row["attributes"]: row for row in _rows(figures["rows"], PAPER)}
    best_rows = _rows(figures["rows"], found)
    rows = []
    for row in best_rows:
        published, recipe = row["published"], by_set[row["attributes"]]
        gained = "" if published is None or published["without"] is None else _published_gain(published)
        rows.append(
            [
                row["attributes"],
                _side(row, "without"),
                gain(recipe["gain"]) or _side(recipe, "with"),
                gain(row["gain"]) or _side(row, "with"),
                gained,
            ]
        )
    gains = [row["gain"] for row in best_rows if row["gain"] is not None]
    helped, hurt = sum(each["low"] > 0 for each in gains), sum(each["high"] < 0 for each in gains)
    header = ["attributes", "without pictures", "paper's recipe, gain", "best features, gain"]
    return "\n\n".join(
        [
            markdown_table([*header, "gain in the paper (Toronto)"], rows),
            f"**The best features help in {helped} of {len(gains)} attribute sets and hurt in {hurt}.** "
            f"They were chosen on earlier sales: *{found}*. {market['later']:,} later sales, 95 % paired "
            "bootstrap; G is the location, T the month, A the area. More, also what failed: "
            "[Table 2](docs/table2.md), [what we tried](docs/what-we-tried.md).",
        ]
    )


def _published_gain(published: Mapping[str, float]) -> str:
    return f"{100 * (published['with_visual'] - published['without']):+.1f}"


def strongest(figures: Figures) -> str:
    """Over the strongest model of attributes alone."""
    rows = [
        [
            row["attributes"],
            row["model"],
            _side(row, "without"),
            _side(row, "with"),
            gain(row["gain"]),
            _side(row, "without", "mdape"),
            _side(row, "with", "mdape"),
            _side(row, "with", "median_ratio"),
        ]
        for row in figures["strongest"]
    ]
    header = ["attributes", "model", "without pictures", "with", "gain (95 % interval)"]
    return markdown_table([*header, "MdAPE without", "MdAPE with", "median ratio with"], rows)


def shuffled(figures: Figures) -> str:
    """What is left of the gain when prices or pictures have changed houses."""
    rows = [
        [row["shuffled"], row["attributes"], _side(row, "without"), _side(row, "with"), gain(row["gain"])]
        for row in figures["shuffled"]
    ]
    header = ["dealt anew", "attributes", "without pictures", "with", "gain (95 % interval)"]
    machine = figures["machine"]
    return "\n\n".join(
        [
            markdown_table(header, rows),
            f"Command: `{figures['command']}`; {figures['seconds'] / 60:.1f} minutes and at most "
            f"{figures['peak_memory_mib'] / 1024:.1f} GiB on {machine['processor']}, "
            f"{machine['cores']} cores.",
        ]
    )


TABLES: dict[str, Callable[[Figures], str]] = {
    "table2-headline": headline,
    "table2-paper": paper,
    "table2-learners": learners,
    "table2-regressors": regressors,
    "table2-best": best,
    "table2-draws": draws,
    "table2-strongest": strongest,
    "table2-shuffled": shuffled,
}
"""Name of a marked place -> the table that stands there."""
