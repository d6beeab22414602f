"use strict";

/* The card of one house: opening and closing it, and the house on the map. */

housevis.opened = { layers: [], from: null };

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
  const hadFocus = card.contains(document.activeElement);
  card.hidden = true;
  document.body.classList.remove("has-card");
  housevis.state.selected = null;
  housevis.clearOpened();
  if (row !== null) housevis.repaint();
  const from = housevis.opened.from;
  if (hadFocus) (from && from !== document.body && from.offsetParent ? from : document.getElementById("search")).focus();
  if (window.location.hash) window.history.replaceState(null, "", window.location.pathname + window.location.search);
};

housevis.show = function (row) {
  const card = document.getElementById("card");
  const element = housevis.element;
  if (card.hidden) housevis.opened.from = document.activeElement;
  housevis.state.selected = row;
  document.body.classList.add("has-card");
  card.hidden = false;
  card.setAttribute("aria-busy", "true");
  card.replaceChildren(
    element("header", { class: "card-head" },
      element("div", {}, element("h2", {}, `House ${housevis.houses.house[row]}`), element("p", {}, "Loading this house…")),
      housevis.closeButton()));
  return Promise.all([housevis.detail(row), housevis.overlaysOf(row)]).then(function ([detail, overlays]) {
    if (housevis.state.selected !== row) return;
    housevis.opened.row = row;
    housevis.opened.detail = detail;
    housevis.opened.overlays = overlays;
    card.replaceChildren(...housevis.cardParts(row, detail));
    card.setAttribute("aria-busy", "false");
    card.scrollTop = 0;
    card.focus({ preventScroll: true });
    housevis.drawOnMap(row, detail);
    housevis.drawLayers();
    housevis.followControls();
    housevis.repaint();
  }, function (problem) {
    if (housevis.state.selected !== row) return;
    card.setAttribute("aria-busy", "false");
    card.replaceChildren(
      element("header", { class: "card-head" },
        element("div", {}, element("h2", {}, "This house could not be loaded")), housevis.closeButton()),
      element("div", { class: "problem", role: "alert" },
        element("p", {}, problem.message),
        element("p", {}, "The files in data/ belong to the page: keep the folder together.")),
      element("button", { type: "button", class: "action", onclick: () => housevis.show(row) }, "Try again"));
    card.focus({ preventScroll: true });
  });
};

housevis.clearOpened = function () {
  for (const layer of housevis.opened.layers) layer.remove();
  housevis.opened.layers = [];
};

/* Picture and overlay of the selected house on the map itself; returns what they cover. */
housevis.drawSelected = function (row, detail) {
  housevis.clearOpened();
  if (housevis.placeMark) housevis.placeMark.remove();
  const place = L.latLng(housevis.place(row));
  if (!detail.picture) {
    housevis.opened.layers.push(L.circleMarker(place, {
      pane: "picture", className: "map-spot", radius: 9, interactive: false,
    }).addTo(housevis.map));
    return place.toBounds(housevis.houses.pictures ? 120 : 300);
  }
  const bounds = L.latLngBounds(housevis.corners(detail.picture.bounds));
  housevis.opened.layers.push(L.imageOverlay(detail.picture.file, bounds, {
    pane: "picture", className: "map-picture", alt: "",
  }).addTo(housevis.map));
  const overlay = housevis.overlayLayer(housevis.opened.overlays, "attention");
  if (overlay) housevis.opened.layers.push(overlay.addTo(housevis.map));
  return bounds;
};

housevis.drawOnMap = function (row, detail) {
  const bounds = housevis.drawSelected(row, detail);
  const card = document.getElementById("card").getBoundingClientRect();
  const beside = window.innerWidth > 900;
  housevis.map.fitBounds(bounds, {
    animate: false,
    maxZoom: 19,
    paddingTopLeft: [beside ? 320 : 8, beside ? 24 : 64],
    paddingBottomRight: beside ? [card.width + 24, 24] : [8, card.height + 8],
  });
};

/* After another overlay was chosen: the house on the map and the picture on the card. */
housevis.redrawSelected = function () {
  const { row, detail } = housevis.opened;
  if (housevis.state.selected === null || housevis.state.selected !== row) return;
  housevis.drawSelected(row, detail);
  housevis.fillPicture();
};

housevis.closeButton = function () {
  return housevis.element("button", {
    type: "button", class: "close", "aria-label": "Close", onclick: housevis.close,
  }, "×");
};

document.addEventListener("keydown", function (event) {
  if (event.key === "Escape" && !document.getElementById("card").hidden) housevis.close();
});
