"use strict";

/* The card of one house: picture, attention, estimate, drivers, where it comes from. */

housevis.overlay = { on: true, opacity: 0.75, layers: [] };

housevis.statusWords = {
  ok: "Bright areas weighed most when houses were ranked by price. They do not say whether the price rises or falls.",
  flat: "No attention map: it is flat, no part of this picture stands out.",
  "no neighbour": "No attention map: no similar house with stored grad-weights was found.",
  negligible: "Attention is negligible here, so next to nothing is coloured on the scale of this run.",
  "no imagery": "There is no aerial picture of this house, and so no attention map.",
};
housevis.sampleWords = {
  "later sale": "sold after all sales that the model learned from",
  "cross-fitted": "estimated by a model that learned from other houses only",
};

/* Open one sale: its address in the location, so that the browser's back button works. */
housevis.open = function (row) {
  const hash = `#sale=${encodeURIComponent(housevis.saleId(row))}`;
  if (window.location.hash === hash) housevis.openFromAddress();
  else window.location.hash = hash;
};

housevis.openFromAddress = function () {
  const match = /^#sale=(.+)$/.exec(window.location.hash);
  if (!match) return housevis.close();
  const wanted = decodeURIComponent(match[1]);
  const house = wanted.slice(0, wanted.lastIndexOf("@"));
  const row = housevis.houses.house.findIndex((name, at) => name === house && housevis.saleId(at) === wanted);
  if (row < 0) return housevis.close();
  return housevis.show(row);
};

housevis.close = function () {
  const card = document.getElementById("card");
  const row = housevis.state.selected;
  card.hidden = true;
  document.body.classList.remove("has-card");
  housevis.state.selected = null;
  for (const layer of housevis.overlay.layers) layer.remove();
  housevis.overlay.layers = [];
  if (row !== null) housevis.repaint();
  if (window.location.hash) window.history.replaceState(null, "", window.location.pathname + window.location.search);
};

housevis.show = function (row) {
  const card = document.getElementById("card");
  housevis.state.selected = row;
  document.body.classList.add("has-card");
  card.hidden = false;
  return housevis.detail(row).then(function (detail) {
    if (housevis.state.selected !== row) return;
    card.replaceChildren(...housevis.cardParts(row, detail));
    card.scrollTop = 0;
    card.focus({ preventScroll: true });
    housevis.drawOnMap(row, detail);
    housevis.repaint();
  }, function (problem) {
    card.replaceChildren(housevis.closeButton(), housevis.element("p", { class: "problem" }, problem.message));
  });
};

/* Picture and attention of the selected house on the map itself. */
housevis.drawOnMap = function (row, detail) {
  for (const layer of housevis.overlay.layers) layer.remove();
  housevis.overlay.layers = [];
  const map = housevis.map;
  const place = L.latLng(housevis.place(row));
  let bounds = place.toBounds(housevis.houses.pictures ? 120 : 300);
  if (!detail.picture) {
    housevis.overlay.layers.push(L.circleMarker(place, {
      pane: "picture", className: "map-spot", radius: 9, interactive: false,
    }).addTo(map));
  } else {
    bounds = L.latLngBounds(housevis.corners(detail.picture.bounds));
    housevis.overlay.layers.push(L.imageOverlay(detail.picture.file, bounds, {
      pane: "picture", className: "map-picture", alt: "",
    }).addTo(map));
  }
  if (detail.heat) {
    housevis.overlay.layers.push(L.imageOverlay(detail.heat, housevis.corners(detail.heatBounds), {
      pane: "attention", className: "map-attention attention", alt: "",
    }).addTo(map));
  }
  housevis.applyOverlay();
  const card = document.getElementById("card").getBoundingClientRect();
  const beside = window.innerWidth > 900;
  map.fitBounds(bounds, {
    animate: false,
    maxZoom: 19,
    paddingTopLeft: [beside ? 320 : 8, beside ? 24 : 64],
    paddingBottomRight: beside ? [card.width + 24, 24] : [8, card.height + 8],
  });
};

housevis.applyOverlay = function () {
  const opacity = housevis.overlay.on ? housevis.overlay.opacity : 0;
  for (const image of document.querySelectorAll(".attention")) image.style.opacity = String(opacity);
};

housevis.closeButton = function () {
  return housevis.element("button", {
    type: "button", class: "close", "aria-label": "Close", onclick: housevis.close,
  }, "×");
};

housevis.cardParts = function (row, detail) {
  const houses = housevis.houses;
  const address = houses.address && houses.address[row];
  const facts = [];
  if (detail.bedrooms !== null) facts.push(`${detail.bedrooms} bedroom${detail.bedrooms === 1 ? "" : "s"}`);
  if (detail.bathrooms !== null) facts.push(`${detail.bathrooms} bathroom${detail.bathrooms === 1 ? "" : "s"}`);
  if (detail.area !== null) {
    facts.push(houses.areaUnit === "ft2" ? `${Math.round(detail.area / 0.09290304).toLocaleString("en-US")} ft²`
      : `${Math.round(detail.area).toLocaleString("en-US")} m²`);
  }
  const pictures = Boolean(houses.pictures);
  return [
    housevis.element("header", { class: "card-head" },
      housevis.element("div", {},
        housevis.element("h2", {}, address || `House ${houses.house[row]}`),
        housevis.element("p", {}, (address ? [`House ${houses.house[row]}`] : []).concat(facts).join(" · "))),
      housevis.closeButton()),
    housevis.priceSection(row, detail),
    pictures ? housevis.pictureSection(row, detail) : null,
    pictures ? housevis.groundSection(detail) : null,
    housevis.driverSection(detail),
    pictures ? housevis.neighbourSection(detail) : null,
    housevis.sourceSection(row, detail),
  ].filter(Boolean);
};

/* A picture with its attention on top; `house` marks where the house stands. */
housevis.framed = function (picture, heat, heatBounds, alt) {
  const frame = housevis.element("div", { class: "frame" },
    housevis.element("img", { src: picture.file, alt: alt, class: "photo" }));
  if (heat) {
    const [west, south, east, north] = picture.bounds;
    const [heatWest, heatSouth, heatEast, heatNorth] = heatBounds;
    frame.append(housevis.element("img", {
      src: heat, alt: "", class: "attention",
      style: {
        left: `${(100 * (heatWest - west)) / (east - west)}%`,
        top: `${(100 * (north - heatNorth)) / (north - south)}%`,
        width: `${(100 * (heatEast - heatWest)) / (east - west)}%`,
        height: `${(100 * (heatNorth - heatSouth)) / (north - south)}%`,
        opacity: String(housevis.overlay.on ? housevis.overlay.opacity : 0),
      },
    }));
  }
  frame.append(housevis.element("span", {
    class: "spot", style: { left: `${picture.house[0] * 100}%`, top: `${picture.house[1] * 100}%` },
  }));
  return frame;
};

housevis.pictureSection = function (row, detail) {
  const status = housevis.element("p", { class: `status status-${detail.status.replace(" ", "-")}` },
    housevis.statusWords[detail.status]);
  if (!detail.picture) {
    return housevis.element("section", { "aria-label": "Picture" },
      housevis.element("div", { class: "frame frame-empty" }, "No imagery"), status);
  }
  const picture = detail.picture;
  const alt = `Aerial picture of house ${housevis.houses.house[row]}`;
  const parts = [housevis.framed(picture, detail.heat, detail.heatBounds, alt)];
  if (detail.heat) parts.push(housevis.overlayControls());
  parts.push(status);
  if (picture.missingTiles) {
    const one = picture.missingTiles === 1;
    parts.push(housevis.element("p", { class: "note" },
      `${picture.missingTiles} map tile${one ? " is" : "s are"} missing here; the edge is mirrored.`));
  }
  parts.push(housevis.element("p", { class: "note" },
    `Imagery: ${picture.attribution || housevis.houses.pictures.attribution}. The ring marks the house.`));
  return housevis.element("section", { "aria-label": "Picture and attention" }, parts);
};

housevis.overlayControls = function () {
  const slider = housevis.element("input", {
    type: "range", id: "opacity", min: "0", max: "100", value: String(housevis.overlay.opacity * 100),
    "aria-label": "Opacity of the attention", disabled: !housevis.overlay.on,
    oninput: function () {
      housevis.overlay.opacity = Number(slider.value) / 100;
      housevis.applyOverlay();
    },
  });
  const toggle = housevis.element("input", {
    type: "checkbox", id: "overlay", checked: housevis.overlay.on,
    onchange: function () {
      housevis.overlay.on = toggle.checked;
      slider.disabled = !toggle.checked;
      housevis.applyOverlay();
    },
  });
  return housevis.element("div", { class: "overlay-controls" },
    housevis.element("label", { class: "check" }, toggle, housevis.element("span", {}, "Attention")),
    slider,
    housevis.element("span", { class: "scale" }, "less",
      housevis.element("i", { style: { backgroundImage: `url(${housevis.houses.pictures.heatScale})` } }), "more"));
};

housevis.priceSection = function (row, detail) {
  const price = housevis.houses.price[row];
  const estimate = housevis.houses.estimate[row];
  const error = housevis.error(row);
  const least = Math.min(detail.low, price, estimate);
  const span = Math.max(detail.high, price, estimate) - least || 1;
  const at = (amount) => `${(100 * (amount - least)) / span}%`;
  const gap = Math.abs(error) < 0.005 ? "equal to the price"
    : `${housevis.signedPercent(Math.abs(error), 1).slice(1)} ${error > 0 ? "above" : "below"} the price`;
  return housevis.element("section", { "aria-label": "Price and estimate" },
    housevis.element("dl", { class: "amounts" },
      housevis.element("div", {}, housevis.element("dt", {}, "Sold for"),
        housevis.element("dd", {}, housevis.money(price)),
        housevis.element("dd", { class: "small" }, housevis.date(housevis.houses.day[row]))),
      housevis.element("div", {}, housevis.element("dt", {}, "Estimate"),
        housevis.element("dd", {}, housevis.rounded(estimate)),
        housevis.element("dd", { class: "small" }, gap))),
    housevis.element("div", { class: "track", "aria-hidden": "true" },
      housevis.element("i", { class: "track-range", style: { left: at(detail.low), right: `calc(100% - ${at(detail.high)})` } }),
      housevis.element("i", { class: "track-estimate", style: { left: at(estimate) } }),
      housevis.element("i", { class: "track-price", style: { left: at(price) } })),
    housevis.element("p", { class: "range-words" },
      `${Math.round(housevis.houses.interval * 100)} % range ${housevis.rounded(detail.low, "floor")} to ${housevis.rounded(detail.high, "ceil")}`),
    housevis.element("p", { class: "caution" }, "An estimate, not an appraisal"));
};

housevis.driverSection = function (detail) {
  const most = detail.drivers.length > 7 ? 6 : 7;
  const shown = detail.drivers.slice(0, most);
  const rest = detail.drivers.slice(most);
  if (rest.length) shown.push([`${rest.length} further`, rest.reduce((sum, driver) => sum + driver[1], 0)]);
  const largest = Math.max(1, ...shown.map((driver) => Math.abs(driver[1])));
  const bars = shown.map(function ([name, amount]) {
    const width = `${(50 * Math.abs(amount)) / largest}%`;
    const side = amount < 0 ? { right: "50%", width: width } : { left: "50%", width: width };
    return housevis.element("li", {},
      housevis.element("span", { class: "bar-name" }, name),
      housevis.element("span", { class: "bar-space", "aria-hidden": "true" },
        housevis.element("i", { class: amount < 0 ? "lowers" : "raises", style: side })),
      housevis.element("span", { class: "bar-amount" }, housevis.signedMoney(amount)));
  });
  return housevis.element("section", {},
    housevis.element("h3", {}, "What the estimate rests on"),
    housevis.element("ul", { class: "bars" }, bars),
    housevis.element("p", { class: "note" },
      `From a base of ${housevis.rounded(detail.base)} the bars add up to the estimate. They show association, not cause.`));
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
  if (!detail.heat) return null;
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
    section.append(housevis.element("p", { class: "note" }, housevis.element("b", {}, `House ${detail.neighbour}`), `. ${words}`));
    return section;
  }
  const button = housevis.element("button", {
    type: "button", class: "neighbour", onclick: () => housevis.open(detail.neighbourRow),
  }, housevis.element("span", { class: "thumb" }), housevis.element("span", {},
    housevis.element("b", {}, `House ${detail.neighbour}`),
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

document.addEventListener("keydown", function (event) {
  if (event.key === "Escape" && !document.getElementById("card").hidden) housevis.close();
});
