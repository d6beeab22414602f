"use strict";

/* What the houses are coloured by: price, error of the estimate, effect of the picture. */

housevis.modes = {
  price: {
    heading: () => `Sale price in ${housevis.houses.currency}`,
    value: (row) => housevis.houses.price[row],
    text: (value) => housevis.shortMoney(value),
    mark: (limit) => housevis.shortNumber(limit),
    meaning: "sold for",
    statistic: "median price",
    ends: null,
  },
  error: {
    heading: () => "Estimate compared with the sale price",
    value: (row) => housevis.error(row),
    text: (value) => housevis.signedPercent(value),
    mark: (limit) => housevis.signedPercent(limit),
    meaning: "estimate error",
    statistic: "median error of the estimate",
    ends: ["estimate too low", "too high"],
  },
  effect: {
    heading: () => `What the picture adds to the estimate, ${housevis.houses.currency}`,
    value: (row) => housevis.houses.effect[row],
    text: (value) => (value > 0 ? "+" : "") + housevis.shortMoney(value, 2),
    mark: (limit) => (limit > 0 ? "+" : "") + housevis.shortNumber(limit).replace("-", "−"),
    meaning: "effect of the picture",
    statistic: "median effect of the picture",
    ends: ["picture lowers it", "raises it"],
  },
};

housevis.UNKNOWN = "#8b949e";

housevis.mode = () => housevis.modes[housevis.state.colourBy];

/* The value that a house is coloured by; null where it is unknown. */
housevis.valueOf = (row) => housevis.mode().value(row);

/* The class of every house in the chosen mode; 255 where its value is unknown. */
housevis.classify = function () {
  const { limits } = housevis.houses.modes[housevis.state.colourBy];
  const value = housevis.mode().value;
  housevis.classes = Uint8Array.from(housevis.houses.price, function (_, row) {
    const known = value(row);
    if (known === null) return 255;
    let found = 0;
    while (found < limits.length && known >= limits[found]) found += 1;
    return found;
  });
};

housevis.colourOf = function (row) {
  const number = housevis.classes[row];
  return number === 255 ? housevis.UNKNOWN : housevis.houses.modes[housevis.state.colourBy].colours[number];
};

/* Black or white, whichever reads better on a colour. */
housevis.inkOn = function (colour) {
  const linear = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.19 ? "#10161d" : "#ffffff";
};

/* What is said of one house or of a cluster in the chosen mode. */
housevis.saidOf = function (rows) {
  const known = rows.map(housevis.valueOf).filter((value) => value !== null);
  return known.length ? housevis.mode().text(housevis.median(known)) : "–";
};

housevis.drawLegend = function () {
  const mode = housevis.mode();
  const { limits, colours } = housevis.houses.modes[housevis.state.colourBy];
  const element = housevis.element;
  const marks = limits.map((limit, index) => element("span", {
    style: { left: `${(100 * (index + 1)) / colours.length}%` },
  }, mode.mark(limit)));
  const parts = [
    element("p", {}, mode.heading()),
    element("div", { class: "legend-bar", "aria-hidden": "true" },
      colours.map((colour) => element("i", { style: { background: colour } }))),
    element("div", { class: "legend-marks" }, marks),
  ];
  if (mode.ends) parts.push(element("div", { class: "legend-ends" }, mode.ends.map((words) => element("span", {}, words))));
  parts.push(element("p", { class: "legend-note" }, `A ring stands for several houses: their ${mode.statistic}, and how many they are.`));
  document.getElementById("legend").replaceChildren(...parts);
};

housevis.startColours = function () {
  for (const choice of document.querySelectorAll("input[name=colour]")) {
    if (!housevis.houses.modes[choice.value]) {
      choice.closest("label").remove();
      continue;
    }
    choice.checked = choice.value === housevis.state.colourBy;
    choice.addEventListener("change", function () {
      housevis.state.colourBy = choice.value;
      housevis.classify();
      housevis.drawLegend();
      housevis.repaint();
    });
  }
  housevis.drawLegend();
};
