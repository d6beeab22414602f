"use strict";

/* The answer: estimate, range, confidence, the sale; and the drivers from the base to the estimate. */
housevis.mostDrivers = 9;

/* The value of an attribute in words; years get no separators. */
housevis.valueWords = function (name, value) {
  if (value === null) return "not known";
  if (name === "area_m2") return housevis.areaWords(value);
  if (/(^|_)(year|yr)(_|$)/.test(name)) return value ? String(value) : "none";
  return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
};

housevis.factsList = function (house) {
  return housevis.element("dl", { class: "facts" }, Object.entries(house.attributes)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => housevis.element("div", {},
      housevis.element("dt", {}, housevis.houses.labels[name] || name),
      housevis.element("dd", {}, housevis.valueWords(name, value)))));
};

housevis.sampleSentence = {
  "later sale": "Judged by a model that has not seen this sale: it learned from earlier sales only.",
  "cross-fitted": "Judged by a model that has not seen this sale, nor any other of this house: it learned from "
    + "other sales of the same years.",
};

housevis.confidenceLine = function (house) {
  if (!house.confidence) return null;
  const reasons = house.confidence_reasons;
  return housevis.element("div", { class: `grade grade-${house.confidence}` },
    housevis.element("b", {}, `Confidence: ${house.confidence}`),
    reasons.length ? housevis.element("ul", {}, reasons.map((words) => housevis.element("li", {}, words)))
      : house.confidence === "high" ? housevis.element("p", {}, "No reason to doubt it more than others.") : null);
};

/* The estimate in its range, with the price and the adjusted prices of comparables. */
housevis.rangeTrack = function (house) {
  const ends = [house.low, house.high, house.estimate, house.price];
  const span = Math.max(Math.max(...ends) - Math.min(...ends), 0.02 * house.estimate);
  const from = Math.min(...ends) - 0.12 * span;
  const to = Math.max(...ends) + 0.12 * span;
  const at = (amount) => `${(100 * (Math.min(Math.max(amount, from), to) - from)) / (to - from)}%`;
  const dots = (house.comparables || []).map((each) => housevis.element("i", {
    class: "track-dot", style: { left: at(each.adjusted_price) },
  }));
  return housevis.element("div", { class: "track", "aria-hidden": "true" },
    housevis.element("i", { class: "track-range", style: { left: at(house.low), right: `calc(100% - ${at(house.high)})` } }),
    dots,
    housevis.element("i", { class: "track-estimate", style: { left: at(house.estimate) } }),
    housevis.element("i", { class: "track-price", style: { left: at(house.price) } }));
};

housevis.answerSection = function (house) {
  const error = house.estimate / house.price - 1;
  const gap = Math.abs(error) < 0.0005 ? "equal to it"
    : `${housevis.signedPercent(Math.abs(error), 1).slice(1)} ${error > 0 ? "above" : "below"} it`;
  const key = (kind, words) => housevis.element("span", {},
    housevis.element("i", { class: `key ${kind}`, "aria-hidden": "true" }), words);
  return housevis.element("section", { class: "answer", "aria-label": "Estimate" },
    housevis.element("p", { class: "label" }, `Estimate as of ${housevis.dayWords(house.sale_date)}`),
    housevis.element("p", { class: "big" }, housevis.fourDigits(house.estimate)),
    housevis.element("p", { class: "range" }, `${Math.round(100 * house.interval)} % range `,
      housevis.element("b", {}, `${housevis.rounded(house.low, "floor")} to ${housevis.rounded(house.high, "ceil")}`)),
    housevis.rangeTrack(house),
    housevis.element("p", { class: "keys" }, key("key-range", "range"), key("key-estimate", "estimate"),
      key("key-price", "sale"), (house.comparables || []).length ? key("key-dot", "comparables") : null),
    housevis.element("p", { class: "sold" }, "Sold for ", housevis.element("b", {}, housevis.money(house.price)),
      `; the estimate is ${gap}. ${housevis.sampleSentence[house.sample]}`),
    housevis.confidenceLine(house),
    housevis.element("p", { class: "caution" }, "An estimate, not an appraisal"));
};

/* Drivers with one name added up, the largest first, the smallest ones together; the picture always named. */
housevis.driverSteps = function (house) {
  const amounts = new Map();
  for (const { name, amount } of house.drivers) {
    if (name === "picture" && !house.used_picture) continue;
    const words = housevis.houses.labels[name] || name;
    const known = amounts.get(words) || { words: words, amount: 0, isPicture: name === "picture" };
    known.amount += amount;
    amounts.set(words, known);
  }
  const ordered = [...amounts.values()].sort((one, other) => Math.abs(other.amount) - Math.abs(one.amount));
  if (ordered.length <= housevis.mostDrivers) return ordered;
  const named = ordered.filter((each, at) => at < housevis.mostDrivers - 1 || each.isPicture);
  const rest = ordered.filter((each) => !named.includes(each));
  if (!rest.length) return named;
  return named.concat({
    words: `${rest.length} smaller drivers`, amount: rest.reduce((sum, each) => sum + each.amount, 0), isPicture: false,
  });
};

housevis.driverSection = function (house) {
  const steps = housevis.driverSteps(house);
  const ends = steps.reduce((found, each) => found.concat(found[found.length - 1] + each.amount), [house.base]);
  const least = Math.min(...ends, house.estimate);
  const margin = 0.05 * Math.max(Math.max(...ends, house.estimate) - least, 0.01 * house.estimate);
  const from = least - margin;
  const to = Math.max(...ends, house.estimate) + margin;
  const at = (amount) => (100 * (amount - from)) / (to - from);
  const line = (words, bar, amount, kind) => housevis.element("tr", { class: kind },
    housevis.element("th", { scope: "row" }, words),
    housevis.element("td", { class: "space", "aria-hidden": "true" }, bar),
    housevis.element("td", {}, amount));
  const mark = (amount) => housevis.element("i", { class: "mark", style: { left: `${at(amount)}%` } });
  const rows = steps.map(function (each, number) {
    const [left, right] = [ends[number], ends[number + 1]].sort((one, other) => one - other).map(at);
    const kind = each.amount < 0 ? "takes" : "adds";
    return line(each.words, [
      housevis.element("i", { class: kind, style: { left: `${left}%`, width: `${Math.max(right - left, 0.4)}%` } }),
      housevis.element("i", { class: "joint", style: { left: `${at(ends[number + 1])}%` } }),
    ], housevis.signedMoney(each.amount), each.isPicture ? "is-picture" : "");
  });
  const apart = house.used_picture
    ? `A model that knows the attributes alone says ${housevis.fourDigits(house.without_picture)}. ` : "";
  return housevis.section("From the base to the estimate", "drivers",
    housevis.element("table", { class: "waterfall", "aria-label": "Drivers of the estimate and their amounts" },
      housevis.element("colgroup", {}, ["names", "bars", "amounts"].map((kind) => housevis.element("col", { class: kind }))),
      housevis.element("tbody", {},
        line("Base: a typical house", [mark(house.base), housevis.element("i", { class: "joint", style: { left: `${at(house.base)}%` } })],
          housevis.fourDigits(house.base), "end"),
        rows, line("Estimate", mark(house.estimate), housevis.fourDigits(house.estimate), "end"))),
    housevis.note(`Orange raises the estimate, blue lowers it; the axis does not begin at zero. ${apart}`
      + "Amounts depend on the base and show association, not cause."));
};
