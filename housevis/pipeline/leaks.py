"""The leakage checks of a run: made before a model learns, kept in the run's record, shown in the report."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection
from housevis.core.errors import LeakError
from housevis.pipeline.project import fingerprint
from housevis.pipeline.sold import EARLIER, SoldHouses
from housevis.pricing import metrics
from housevis.pricing.attribute_dates import DATED_AFTER_SALE, check_dates
from housevis.pricing.attributes import present_attributes
from housevis.pricing.leak_checks import EXAMPLES, PASSED, STOPPED, Finding, LeakCheck, check_price_derived
from housevis.runs import LEAKAGE, Run, read_json, write_json

BOTH_SIDES: Final = "shared by both sides of the split"
REPORT, REFUSE = "report", "refuse"
_RULES = 1
"""Number of the rules; checks made by older ones are made again."""
_NAMED = 3


def check_leaks(pricing: PricingSection, run: Run, sold: SoldHouses) -> list[str]:
    """Make the leakage checks of a run, unless they are made, and keep their results with it.

    All attributes that the sales have are looked at, also those that only
    the comparison of attribute sets uses.

    Args:
        pricing: The settings of the run.
        run: The run; ``leakage.json`` is written into its folder, also when the run is stopped.
        sold: The sales.

    Returns:
        A line for each check.

    Raises:
        LeakError: An attribute gives the price back, is dated after the sale,
            or a house or picture is on both sides where that is refused.
        ConfigError: `pricing.attribute_dates` does not fit the sales.
    """
    settings = fingerprint(rules=_RULES, dates=pricing.attribute_dates, policy=sold.shared_houses)
    file = run.folder / LEAKAGE
    if file.is_file():
        kept = read_json(file)
        if kept["settings"] == settings and all(each["result"] != STOPPED for each in kept["checks"]):
            return [_line(each["name"], each["result"], each["says"]) for each in kept["checks"]]
    names = present_attributes(sold.sales)
    checks = [
        check_price_derived(sold.sales, names),
        check_dates(sold.sales, names, pricing.attribute_dates),
        check_both_sides(sold),
    ]
    write_json(file, {"settings": settings, "checks": [check.without_examples() for check in checks]})
    for check in checks:
        if check.result == STOPPED:
            raise _leak(check)
    return [_line(check.name, check.result, check.says) for check in checks]


def check_both_sides(sold: SoldHouses) -> LeakCheck:
    """Houses and pictures of later sales that earlier sales have too, under the policy for them."""
    later_houses = later_in_earlier(sold, sold.sales["house_id"].to_numpy(dtype=str), sold.is_earlier)
    later_pictures = later_in_earlier(sold, sold.image_keys, sold.is_earlier)
    houses = sold.sales.loc[sold.sold_again, "house_id"].nunique()
    says = f"{houses:,} houses are sold on both sides ({int(sold.sold_again.sum()):,} earlier sales, "
    says += f"{int(later_houses.sum()):,} later ones)"
    if (sold.image_keys != "").any():
        says += f"; {int(later_pictures.sum()):,} later sales share a picture with an earlier one"
    findings = []
    if sold.shared_houses == REFUSE:
        rows = np.flatnonzero(sold.sold_again)
        if len(rows):
            what = f"{houses:,} houses are sold on both sides of the split"
            findings.append(_shared(sold, "house_id", what, rows))
        rows = np.flatnonzero(~sold.is_earlier)[later_pictures]
        if len(rows):
            what = f"{len(rows):,} later sales share a picture with an earlier one"
            findings.append(_shared(sold, "picture", what, rows))
    done = {
        REPORT: "they are learned from, and the headline without them stands beside the other",
        REFUSE: "that is refused" if findings else "nothing to refuse",
    }.get(sold.shared_houses, "these earlier sales teach no model that judges")
    result = STOPPED if findings else PASSED
    says = f"{says}; {done} (shared_houses = {sold.shared_houses!r})"
    return LeakCheck(BOTH_SIDES, result, says, (), tuple(findings))


def later_in_earlier(
    sold: SoldHouses, keys: NDArray[np.str_], learned_from: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Later sales ``(m,)`` whose key, such as the house or the picture, is one of those learned from."""
    known = keys[learned_from]
    return np.isin(keys[~sold.is_earlier], known[known != ""])


def leakage_figures(run: Run, sold: SoldHouses, later: pd.DataFrame) -> dict[str, Any]:
    """What ``metrics.json`` keeps of leakage.

    Args:
        run: The run, its checks made.
        sold: The sales.
        later: ``estimate`` and ``price`` of the later sales, in their order.

    Returns:
        ``checks`` (name, result, what it says), ``policy``, and ``headlines``:
        over ``all`` later sales, and over those ``apart``, which share neither
        house nor picture with a sale that the models learned from.
    """
    trained = sold.training_rows(EARLIER)
    shared = later_in_earlier(sold, sold.sales["house_id"].to_numpy(dtype=str), trained)
    shared |= later_in_earlier(sold, sold.image_keys, trained)
    file = run.folder / LEAKAGE
    checks = read_json(file)["checks"] if file.is_file() else []
    return {
        "policy": sold.shared_houses,
        "checks": [{name: check[name] for name in ("name", "result", "says")} for check in checks],
        "headlines": {"all": _headline(later), "apart": _headline(later[~shared])},
    }


def houses_to_hide(run: Run, model_id: str, training: pd.DataFrame) -> set[str]:
    """Houses of which a model may show no estimate, as it learned from a sale of them.

    Where the policy is to report houses on both sides, the model of the later
    sales may show them; its own training sales stay hidden.
    """
    policy = run.record["config"].get("pricing", {}).get("shared_houses")
    return set() if policy == REPORT and model_id == EARLIER else set(training["house_id"])


def _headline(later: pd.DataFrame) -> dict[str, Any]:
    if later.empty:
        return {"sales": 0, "share": None, "mdape": None}
    estimate, price = later["estimate"].to_numpy(), later["price"].to_numpy()
    return {
        "sales": len(later),
        "share": float(metrics.pe(estimate, price)),
        "mdape": float(metrics.mdape(estimate, price)),
    }


def _shared(sold: SoldHouses, column: str, what: str, rows: NDArray[np.int64]) -> Finding:
    named = sold.sales.iloc[rows[:EXAMPLES]]
    examples = tuple(
        {"sale_id": str(sale), "house_id": str(house)}
        for sale, house in zip(named["sale_id"], named["house_id"], strict=True)
    )
    return Finding(column, what, len(rows) / len(sold.sales), len(rows), examples)


def _line(name: str, result: str, says: str) -> str:
    return f"leakage check, {name}: {result} ({says})"


def _leak(check: LeakCheck) -> LeakError:
    first = check.findings[0]
    columns = sorted(
        {
            f"{each.column!r} (or {each.beside!r})" if each.beside else repr(each.column)
            for each in check.findings
        }
    )
    shown = "; ".join(_row(example) for example in first.examples[:_NAMED])
    if check.name == BOTH_SIDES:
        remedy = (
            'Take shared_houses = "exclude_from_train" or "report" in [pricing], or leave these sales out '
            "of the listings."
        )
    else:
        remedy = (
            f"Take {' and '.join(columns)} out of attributes in [pricing] and extra_attributes "
            "in [listings], then run again."
        )
    if check.name == DATED_AFTER_SALE:
        remedy += " If its values were known at the sale, say so: "
        remedy += f'attribute_dates = {{ {first.column} = "sale_date" }} in [pricing].'
    return LeakError(f"{check.says}. Such as {shown}", where=f"leakage check, {check.name}", remedy=remedy)


def _row(example: dict[str, Any]) -> str:
    values = dict(example)
    sale = values.pop("sale_id")
    told = ", ".join(
        f"{name} {value:.10g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
    return f"sale {sale} ({told})"
