"use strict";

/* What the card of a house says: price, picture, drivers, where it comes from. */

housevis.statusWords = {
  ok: "Bright areas weighed most when houses were ranked by price. They do not say whether the price rises or falls.",
  flat: "No attention map: it is flat, no part of this picture stands out.",
  "no neighbour": "No attention map: no similar house with stored grad-weights was found.",
  negligible: "Attention is negligible here, so next to nothing is coloured on the scale of this run.",
  "no imagery": "There is no aerial picture of this house, and so no attention map.",
};
housevis.valueWords = {
  ok: "Orange parts of the picture go with a higher estimate, blue parts with a lower one. Association, not cause.",
  flat: "No value map: no part of this picture stands out.",
  negligible: "The picture changes this estimate too little to say where it lies.",
  "no imagery": "There is no aerial picture of this house, and so no value map.",
};
housevis.sampleWords = {
  "later sale": "sold after all sales that the model learned from",
  "cross-fitted": "estimated by a model that learned from other houses only",
};

/* What the picture of a sold house needs, see housevis.opened. */
housevis.soldHouse = (row, detail, overlays) => ({
  row: row,
  place: housevis.place(row),
  name: `house ${housevis.houses.house[row]}`,
  picture: detail.picture,
  overlays: overlays,
  status: detail.status,
  valueStatus: detail.valueStatus,
});

housevis.cardParts = function (row, detail) {
  const houses = housevis.houses;
  const address = houses.address && houses.address[row];
  const facts = [];
  if (detail.bedrooms !== null) facts.push(`${detail.bedrooms} bedroom${detail.bedrooms === 1 ? "" : "s"}`);
  if (detail.bathrooms !== null) facts.push(`${detail.bathrooms} bathroom${detail.bathrooms === 1 ? "" : "s"}`);
  if (detail.area !== null) facts.push(housevis.areaWords(detail.area));
  const pictures = Boolean(houses.pictures);
  const more = [
    housevis.restSection(detail),
    pictures ? housevis.groundSection(detail) : null,
    pictures ? housevis.neighbourSection(detail) : null,
    housevis.sourceSection(row, detail),
  ].filter(Boolean);
  return [
    housevis.element("header", { class: "card-head" },
      housevis.element("div", {},
        housevis.element("h2", {}, housevis.named(houses.house[row], address)),
        housevis.element("p", {},
          address ? housevis.named(houses.house[row]).concat(facts.length ? " · " : []) : null, facts.join(" · "))),
      housevis.closeButton()),
    housevis.priceSection(row, detail),
    pictures ? housevis.pictureSection() : null,
    housevis.driverSection(detail),
    houses.housePage ? housevis.element("a", {
      class: "action", href: `${houses.housePage}#${encodeURIComponent(houses.house[row])}`,
    }, "Open the page of this house") : null,
    housevis.element("details", { class: "more" },
      housevis.element("summary", {}, "All drivers, and where this comes from"), more),
  ].filter(Boolean);
};

/* A picture with the chosen overlay on top, where it lies on the ground; a ring marks the house. */
housevis.framed = function (picture, overlays, alt) {
  const frame = housevis.element("div", { class: "frame" },
    housevis.element("img", { src: picture.file, alt: alt, class: "photo", width: 224, height: 224 }));
  const address = overlays && overlays[housevis.layers.overlay];
  if (address) {
    const [west, south, east, north] = picture.bounds;
    const [overlayWest, overlaySouth, overlayEast, overlayNorth] = overlays.bounds;
    frame.append(housevis.element("img", {
      src: address, alt: "", class: "overlay-image card-overlay",
      style: {
        left: `${(100 * (overlayWest - west)) / (east - west)}%`,
        top: `${(100 * (north - overlayNorth)) / (north - south)}%`,
        width: `${(100 * (overlayEast - overlayWest)) / (east - west)}%`,
        height: `${(100 * (overlayNorth - overlaySouth)) / (north - south)}%`,
        opacity: String(housevis.layers.opacity),
      },
    }));
  }
  frame.append(housevis.element("span", {
    class: "spot", style: { left: `${picture.house[0] * 100}%`, top: `${picture.house[1] * 100}%` },
  }));
  return frame;
};

housevis.pictureSection = function () {
  const element = housevis.element;
  const { picture } = housevis.opened.house;
  const parts = [element("div", { class: "picture-place" }), element("p", { class: "status", role: "status" })];
  if (picture) {
    parts.splice(1, 0, housevis.overlayControls("card"));
    if (picture.missingTiles) {
      const one = picture.missingTiles === 1;
      parts.push(element("p", { class: "note" },
        `${picture.missingTiles} map tile${one ? " is" : "s are"} missing here; the edge is mirrored.`));
    }
    parts.push(element("p", { class: "note" },
      housevis.given(housevis.credit(picture.attribution || housevis.houses.pictures.attribution)),
      ". The ring marks the house.",
      element("span", { class: "parcel-mark", hidden: true }, " The line is its parcel.")));
  }
  const section = element("section", { class: "card-picture", "aria-label": "Picture and overlay" }, parts);
  housevis.fillPicture(section);
  return section;
};

/* The picture of the card with the overlay that is chosen now, and what is to be said of it. */
housevis.fillPicture = function (within) {
  const { picture, overlays, name, place, status, valueStatus } = housevis.opened.house;
  const kind = housevis.layers.overlay;
  const holder = within.querySelector(".picture-place");
  if (!holder) return;
  holder.replaceChildren(picture ? housevis.framed(picture, overlays, `Aerial picture of ${name}`)
    : housevis.element("div", { class: "frame frame-empty" }, "No imagery"));
  for (const mark of within.querySelectorAll(".parcel-mark")) mark.hidden = true;
  if (picture) housevis.outlineParcel(holder.firstChild, picture, place);
  within.querySelector(".status").textContent = kind === "none" && picture ? ""
    : kind === "value" && picture ? housevis.valueWords[valueStatus] || "There is no value map of this house."
      : housevis.statusWords[status] || "";
};

/* Where the estimate lies in its range, and the price where there is one. */
housevis.rangeTrack = function (low, high, estimate, price) {
  const ends = [low, high, estimate].concat(price === undefined ? [] : [price]);
  const least = Math.min(...ends);
  const span = Math.max(...ends) - least || 1;
  const at = (amount) => `${(100 * (amount - least)) / span}%`;
  return housevis.element("div", { class: "track", "aria-hidden": "true" },
    housevis.element("i", { class: "track-range", style: { left: at(low), right: `calc(100% - ${at(high)})` } }),
    housevis.element("i", { class: "track-estimate", style: { left: at(estimate) } }),
    price === undefined ? null : housevis.element("i", { class: "track-price", style: { left: at(price) } }));
};

housevis.rangeWords = (low, high, interval) => housevis.element("p", { class: "range-words" },
  `${Math.round(interval * 100)} % range ${housevis.rounded(low, "floor")} to ${housevis.rounded(high, "ceil")}`);

housevis.confidenceWords = function (grade, reasons) {
  return [
    housevis.element("p", { class: "chips" },
      grade ? housevis.element("span", { class: `chip grade-${grade}` }, `Confidence: ${grade}`) : null,
      housevis.element("span", { class: "chip" }, "An estimate, not an appraisal")),
    reasons.length ? housevis.element("p", { class: "note" }, `Less sure because: ${reasons.join("; ")}.`) : null,
  ];
};

housevis.priceSection = function (row, detail) {
  const price = housevis.houses.price[row];
  const estimate = housevis.houses.estimate[row];
  const error = housevis.error(row);
  const gap = Math.abs(error) < 0.005 ? "equal to the price"
    : `${housevis.signedPercent(Math.abs(error), 1).slice(1)} ${error > 0 ? "above" : "below"} the price`;
  return housevis.element("section", { class: "card-price", "aria-label": "Price and estimate" },
    housevis.element("dl", { class: "amounts" },
      housevis.element("div", {}, housevis.element("dt", {}, "Sold for"),
        housevis.element("dd", {}, housevis.money(price)),
        housevis.element("dd", { class: "small" }, housevis.date(housevis.houses.day[row]))),
      housevis.element("div", {}, housevis.element("dt", {}, "Estimate"),
        housevis.element("dd", {}, housevis.fourDigits(estimate)),
        housevis.element("dd", { class: "small" }, gap))),
    housevis.rangeTrack(detail.low, detail.high, estimate, price),
    housevis.rangeWords(detail.low, detail.high, housevis.houses.interval),
    housevis.confidenceWords(housevis.gradeOf(row), detail.reasons));
};

housevis.gradeOf = function (row) {
  const { confidence, grades } = housevis.houses;
  return confidence && confidence[row] !== null ? grades[confidence[row]] : null;
};

housevis.SHOWN_DRIVERS = 3;

/* Bars of drivers, to the right where they raise the estimate; `largest` fills half the width. */
housevis.driverBars = function (drivers, largest) {
  const bars = drivers.map(function ([name, amount]) {
    const width = `${(50 * Math.abs(amount)) / largest}%`;
    const side = amount < 0 ? { right: "50%", width: width } : { left: "50%", width: width };
    return housevis.element("li", {},
      housevis.element("span", { class: "bar-name" }, name),
      housevis.element("span", { class: "bar-space", "aria-hidden": "true" },
        housevis.element("i", { class: amount < 0 ? "lowers" : "raises", style: side })),
      housevis.element("span", { class: "bar-amount" }, housevis.signedMoney(amount)));
  });
  return housevis.element("ul", { class: "bars" }, bars);
};

housevis.largestDriver = (detail) => Math.max(1, ...detail.drivers.map((driver) => Math.abs(driver[1])));

housevis.driverSection = function (detail) {
  const rest = detail.drivers.slice(housevis.SHOWN_DRIVERS);
  const together = rest.reduce((sum, driver) => sum + driver[1], 0);
  return housevis.element("section", { class: "card-drivers" },
    housevis.element("h3", {}, "What the estimate rests on"),
    housevis.driverBars(detail.drivers.slice(0, housevis.SHOWN_DRIVERS), housevis.largestDriver(detail)),
    housevis.element("p", { class: "note" },
      `From a base of ${housevis.fourDigits(detail.base)}`
      + (rest.length ? `; ${rest.length} further together ${housevis.signedMoney(together)}` : "")
      + ". They show association, not cause."));
};

housevis.restSection = function (detail) {
  const rest = detail.drivers.slice(housevis.SHOWN_DRIVERS);
  if (!rest.length) return null;
  return housevis.element("section", {},
    housevis.element("h3", {}, "Further drivers"),
    housevis.driverBars(rest, housevis.largestDriver(detail)),
    housevis.element("p", { class: "note" }, "With the base and the drivers above they add up to the estimate."));
};

/* What is under the heat: per class of land cover its share of the attention and what of the estimate lies on it. */
housevis.groundSection = function (detail) {
  const notes = housevis.houses.pictures.underNotes.map((words) => housevis.element("p", { class: "note" }, words));
  if (!detail.under) {
    if (!detail.picture || !notes.length) return null;
    return housevis.element("section", {}, housevis.element("h3", {}, "What is under the heat"), notes);
  }
  const heated = detail.under.some((line) => line[1] !== null);
  const valued = detail.under.some((line) => line[3] !== null);
  const share = (part) => (part === null ? "–" : part < 0.005 ? "< 1 %" : `${Math.round(100 * part)} %`);
  const head = (words) => housevis.element("th", { scope: "col" }, words);
  const number = (words) => housevis.element("td", {}, words);
  const lines = detail.under.map(([name, attention, area, amount]) => housevis.element("tr", {},
    housevis.element("th", { scope: "row" }, name),
    number(share(area)),
    heated ? number(share(attention)) : null,
    valued ? number(amount === null ? "–" : housevis.signedMoney(amount)) : null));
  return housevis.element("section", {},
    housevis.element("h3", {}, "What is under the heat"),
    housevis.element("table", { class: "ground" },
      housevis.element("thead", {}, housevis.element("tr", {},
        head("Ground"), head("Picture"), heated ? head("Attention") : null, valued ? head("Value") : null)),
      housevis.element("tbody", {}, lines)),
    housevis.element("p", { class: "note" },
      valued ? "The value is the picture's part of the estimate, spread over what is seen there. Association, not cause."
        : "Too little of the estimate rests on this picture to say where it lies."),
    notes);
};

housevis.neighbourSection = function (detail) {
  if (!housevis.opened.house.overlays || !housevis.opened.house.overlays.attention) return null;
  if (housevis.houses.pictures.sameWeights) {
    return housevis.element("section", {}, housevis.element("h3", {}, "Where the colours come from"),
      housevis.element("p", { class: "note" },
        "The weights that coloured this picture are the same for every house of this run, up to their sign. "
        + "The map is global: it differs from house to house only because the pictures do."));
  }
  if (detail.neighbour === null) return null;
  const section = housevis.element("section", {}, housevis.element("h3", {}, "Explained by"));
  const words = "The most similar house in the grad-weight database. Its weights, learned in training, coloured this picture.";
  if (detail.neighbourRow === null) {
    section.append(housevis.element("p", { class: "note" }, housevis.element("b", {}, housevis.named(detail.neighbour)), `. ${words}`));
    return section;
  }
  const button = housevis.element("button", {
    type: "button", class: "neighbour", onclick: () => housevis.open(detail.neighbourRow),
  }, housevis.element("span", { class: "thumb" }), housevis.element("span", {},
    housevis.element("b", {}, housevis.named(detail.neighbour)),
    housevis.element("small", {}, `Sold for ${housevis.money(housevis.houses.price[detail.neighbourRow])}. ${words}`)));
  housevis.detail(detail.neighbourRow).then(function (neighbour) {
    if (neighbour.picture) {
      button.querySelector(".thumb").append(housevis.element("img", { src: neighbour.picture.file, alt: "" }));
    }
  }, () => null);
  section.append(button);
  return section;
};

housevis.sourceSection = function (row, detail) {
  const houses = housevis.houses;
  const sample = houses.samples[Number(houses.sample[row])];
  const others = houses.house.map((house, at) => (house === houses.house[row] && at !== row ? at : -1))
    .filter((at) => at >= 0);
  const line = (name, ...value) => housevis.element("div", {},
    housevis.element("dt", {}, name), housevis.element("dd", {}, ...value));
  return housevis.element("section", {},
    housevis.element("h3", {}, "Where this comes from"),
    housevis.element("dl", { class: "source" },
      line("Sample", housevis.element("b", {}, sample), `: ${housevis.sampleWords[sample]}`),
      line("Model", housevis.element("code", {}, detail.model)),
      line("Run", housevis.element("code", {}, houses.runId)),
      others.length ? line("Also sold", others.map((at) => housevis.element("button", {
        type: "button", class: "link", onclick: () => housevis.open(at),
      }, `${housevis.date(houses.day[at])}, ${housevis.money(houses.price[at])}`))) : null));
};
