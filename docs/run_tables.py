"""Tables of whole runs and studies: shares, errors and ratio studies of markets, and what embedding costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import gain, markdown_table, percent, share

Figures = Mapping[str, Any]


def _published(row: Mapping[str, Any]) -> list[str]:
    published = row["published"]
    return ["", ""] if published is None else [share(published["without"]), share(published["with_visual"])]


def ablation_table(figures: Figures) -> str:
    """Shares within ±10 % by attribute set, C Table 2 beside them."""
    rows = [
        [row["name"], share(row["without"]), share(row["with_visual"]), gain(row["gain"]), *_published(row)]
        for row in figures["ablation"]
    ]
    header = ["attributes", "without pictures", "with pictures", "gain, 95 % interval"]
    return markdown_table([*header, "paper, without", "paper, with"], rows)


def king_county_details(figures: Figures) -> str:
    """The shipped run: shares within ±10 %, errors, ratio study, machine and time."""
    errors = markdown_table(
        ["attributes", "sales", "MdAPE without", "MdAPE with"],
        [
            [row["name"], f"{row['sales']:,}", share(row["mdape_without"]), share(row["mdape_with"])]
            for row in figures["ablation"]
        ],
    )
    study = figures["ratio_study"]
    ratios = markdown_table(
        ["figure", "estimate", "95 % interval"],
        [
            [name, f"{value['estimate']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}"]
            for name, value in study.items()
            if isinstance(value, Mapping)
        ],
    )
    machine, stages = figures["machine"], figures["stages_seconds"]
    time = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
    interval = figures["interval"]
    return "\n\n".join(
        [
            f"Command: `{figures['command']}`. Backbone: {figures['backbone']['choice']}.",
            ablation_table(figures),
            errors,
            f"Ratio study of the {study['n']:,} later sales with all configured attributes and pictures:",
            ratios,
            f"Intervals meant to hold {share(interval['nominal'])} % of the prices held "
            f"{share(interval['covered'])} %.",
            f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB. "
            f"Time: {time}.",
        ]
    )


_REGIONS = ("any driver", "pool", "water", "canopy", "arterial")


def sample_market(figures: Figures) -> str:
    """Gain and heat on the towns of the benchmark."""
    towns, mean = figures["towns"], figures["mean"]
    header = [
        "town",
        "without",
        "with",
        "gain, 95 % interval",
        "true drivers as columns",
        "part of that",
        "location only",
    ]
    rows = [
        [
            str(town["seed"]),
            share(town["share_without"]),
            share(town["share_with"]),
            gain(town["gain"]),
            share(town["ceiling"]),
            percent(town["part_of_ceiling"]),
            share(town["location_only"]),
        ]
        for town in towns
    ]
    rows.append(
        [
            "mean",
            share(mean["share_without"]),
            share(mean["share_with"]),
            f"{100 * mean['gain']:+.1f}",
            share(mean["ceiling"]),
            percent(mean["part_of_ceiling"]),
            share(mean["location_only"]),
        ]
    )
    heat = markdown_table(
        ["heat on the true drivers, times a uniform map", *_REGIONS],
        [
            [method, *(f"{lifts[region]:.2f}" for region in _REGIONS)]
            for method, lifts in mean["lift"].items()
        ],
    )
    return "\n\n".join(
        [
            "Share of later sales within ±10 %, five paper attributes, EfficientNet-Lite0:",
            markdown_table(header, rows),
            f"Rank accuracy {share(mean['rank_accuracy'])} %, mean of the towns. Heat is pooled over the "
            "houses "
            "of later sales; *transferred* is what the pages show, *random network* the same method on a "
            "network with random weights, and the true mask on the grid is the most that a map of this "
            "resolution reaches.",
            heat,
            f"Command: `{figures['command']}`.",
        ]
    )


def regularisation(figures: Figures) -> str:
    """The study of the ranker's penalty."""
    columns = ("rank accuracy, earlier", "rank accuracy, later", "gain in-sample", "gain cross-fitted")
    rows = [
        [
            f"{row['penalty']:,.0f}",
            share(row[columns[0]]),
            share(row[columns[1]]),
            *(f"{100 * row[name]:+.1f}" for name in columns[2:]),
        ]
        for row in figures["mean"]
    ]
    table = markdown_table(["penalty", *columns], rows)
    return f"{table}\n\nCommand: `{figures['command']}`."


def comparable_sales(figures: Figures) -> str:
    """The attributes-only model without and with comparable sales."""
    rows = [
        [
            row["attributes"],
            row["boosting"],
            judged,
            share(row[key]["share_without"]),
            share(row[key]["share_with"]),
            gain(row[key]["gain"]),
            f"{100 * row[key]['mdape_without']:.2f}",
            f"{100 * row[key]['mdape_with']:.2f}",
        ]
        for row in figures["rows"]
        for key, judged in (("later", "later sales"), ("cross-validated", "earlier sales, held-out folds"))
    ]
    header = ["attributes", "boosting", "judged on", "without", "with", "gain, 95 % interval"]
    table = markdown_table([*header, "MdAPE without", "MdAPE with"], rows)
    return f"{table}\n\nCommand: `{figures['command']}`."


def _share_with_interval(value: Mapping[str, float], unit: float = 1.0) -> str:
    estimate, low, high = (unit * value[name] for name in ("estimate", "low", "high"))
    return f"{estimate:.1f} ({low:.1f} to {high:.1f})"


def other_markets(figures: Figures) -> str:
    """Markets without pictures: what is kept, and how near the estimates come."""
    markets = figures["markets"]
    near = markdown_table(
        [
            "market",
            "later sales",
            "within ±10 %",
            "MdAPE, 95 % interval",
            "COD, 95 % interval",
            "interval meant to hold",
            "held",
        ],
        [
            [
                f"{market['title']} ({market['currency']})",
                f"{market['later_sales']:,}",
                share(market["share"]),
                _share_with_interval(market["ratio_study"]["mdape"], 100),
                _share_with_interval(market["ratio_study"]["cod"]),
                share(market["interval"]["nominal"]),
                share(market["interval"]["covered"]),
            ]
            for market in markets
        ],
    )
    kept = markdown_table(
        ["market", "columns mapped", "rows", "sales kept", "rejected, by reason"],
        [
            [
                market["title"],
                str(market["mapped_columns"]),
                f"{market['rows']:,}",
                f"{market['sales']:,}",
                ", ".join(
                    f"{count:,} `{reason}`"
                    for reason, count in sorted(market["rejected"].items(), key=lambda item: -item[1])
                ),
            ]
            for market in markets
        ],
    )
    sets = markdown_table(
        ["market", "attributes", "within ±10 %", "MdAPE"],
        [
            [market["title"], row["name"], share(row["share"]), share(row["mdape"])]
            for market in markets
            for row in market["sets"]
        ],
    )
    return "\n\n".join(
        [
            "Later sales, estimated from the attributes of the example configurations; figures in percent:",
            near,
            "What became of the rows of the files:",
            kept,
            "The paper's sets of attributes that the files can fill, and all that they have:",
            sets,
            f"Command: `{figures['command']}`.",
        ]
    )


def embedding_engine(figures: Figures) -> str:
    """How fast pictures become features, beside the plain loop."""
    rows = [
        [
            name,
            found["engine"],
            f"{found['median_images_per_second']['plain']:.0f}",
            f"{found['median_images_per_second']['engine']:.0f}",
            f"{found['ratio']:.1f}",
            found["machine"]["processor"],
        ]
        for name, found in figures.items()
    ]
    header = ["backbone", "engine", "plain float32 loop, images/s", "engine, images/s", "ratio", "processor"]
    return markdown_table(header, rows)
