"use strict";

/* The card of one house: opening and closing it, and the house on the map. */

/* `house` is what the card shows: place, name, picture, overlays, and `row` where it is a sold one. */
housevis.opened = { house: null, layers: [], pin: null, from: null };

/* Open one sale: its address in the location, so that the browser's back button works. */
housevis.open = function (row) {
  const hash = `#sale=${encodeURIComponent(housevis.saleId(row))}`;
  if (window.location.hash === hash) housevis.openFromAddress();
  else window.location.hash = hash;
};

housevis.openFromAddress = function () {
  const asked = /^#place=(-?[\d.]+),(-?[\d.]+)$/.exec(window.location.hash);
  if (asked && housevis.server) return housevis.showNewHouse([Number(asked[1]), Number(asked[2])]);
  const match = /^#sale=(.+)$/.exec(window.location.hash);
  if (!match) return housevis.close();
  const wanted = housevis.decoded(match[1]);
  const house = wanted.slice(0, wanted.lastIndexOf("@"));
  const row = housevis.houses.house.findIndex((name, at) => name === house && housevis.saleId(at) === wanted);
  if (row < 0) return housevis.houses.view ? housevis.showAsked(house) : housevis.close();
  return housevis.show(row);
};

housevis.close = function () {
  const card = document.getElementById("card");
  const hadFocus = card.contains(document.activeElement);
  card.hidden = true;
  document.body.classList.remove("has-card");
  housevis.clearOpened();
  document.querySelector(".leaflet-control-attribution").parentElement.style.bottom = "";
  housevis.map.invalidateSize({ animate: false, pan: false });
  const from = housevis.opened.from;
  if (hadFocus) (from && from !== document.body && from.offsetParent ? from : document.getElementById("search")).focus();
  if (window.location.hash) window.history.replaceState(null, "", window.location.pathname + window.location.search);
};

/* The card with a heading, for whatever comes below it; `parts` stand there until then. */
housevis.openCard = function (heading, words, ...parts) {
  const card = document.getElementById("card");
  if (card.hidden) housevis.opened.from = document.activeElement;
  document.body.classList.add("has-card");
  card.hidden = false;
  card.replaceChildren(
    housevis.element("header", { class: "card-head" },
      housevis.element("div", {}, housevis.element("h2", {}, heading), housevis.element("p", {}, words)),
      housevis.closeButton()), ...parts);
  card.scrollTop = 0;
  return card;
};

housevis.show = function (row) {
  housevis.clearOpened();
  housevis.state.selected = row;
  housevis.openCard(housevis.named(housevis.houses.house[row]), "Loading this house…").setAttribute("aria-busy", "true");
  return Promise.all([housevis.detail(row), housevis.overlaysOf(row)]).then(function ([detail, overlays]) {
    if (housevis.state.selected !== row) return;
    housevis.opened.house = housevis.soldHouse(row, detail, overlays);
    const card = document.getElementById("card");
    card.replaceChildren(...housevis.cardParts(row, detail));
    card.setAttribute("aria-busy", "false");
    card.scrollTop = 0;
    card.focus({ preventScroll: true });
    housevis.putPin(row);
    housevis.drawOnMap();
    housevis.drawLayers();
    housevis.followControls();
  }, function (problem) {
    if (housevis.state.selected !== row) return;
    const card = housevis.openCard("This house could not be loaded", "",
      housevis.element("div", { class: "problem", role: "alert" },
        housevis.element("p", {}, problem.message),
        housevis.element("p", {}, housevis.server ? "The server may have stopped, or your session has ended: load the page again."
          : "The files in data/ belong to the page: keep the folder together.")),
      housevis.element("button", { type: "button", class: "action", onclick: () => housevis.show(row) }, "Try again"));
    card.setAttribute("aria-busy", "false");
    card.focus({ preventScroll: true });
  });
};

/* The selected house leaves its ring and stands on the map as a pin of its own, whatever the zoom. */
housevis.putPin = function (row) {
  const marker = housevis.markers && housevis.markers[row];
  if (marker) housevis.cluster.removeLayer(marker);
  housevis.opened.pin = L.marker(housevis.place(row), {
    icon: new housevis.PinIcon({ row: row }), zIndexOffset: 100000, interactive: false, keyboard: false,
  }).addTo(housevis.map);
};

/* Take everything of the card's house off the map; its marker goes back among the others. */
housevis.clearOpened = function () {
  const row = housevis.state.selected;
  housevis.state.selected = null;
  housevis.opened.house = null;
  housevis.clearLayers();
  if (housevis.placeMark) housevis.placeMark.remove();
  if (!housevis.opened.pin) return;
  housevis.opened.pin.remove();
  housevis.opened.pin = null;
  const marker = housevis.markers && housevis.markers[row];
  if (marker && housevis.kept[row]) housevis.cluster.addLayer(marker);
};

housevis.clearLayers = function () {
  for (const layer of housevis.opened.layers) layer.remove();
  housevis.opened.layers = [];
};

/* Picture and overlay of the card's house on the map itself; returns what they cover. */
housevis.drawSelected = function () {
  const { place, picture, overlays, row } = housevis.opened.house;
  housevis.clearLayers();
  housevis.drawParcel(housevis.opened.house);
  if (!picture || row === null) {
    housevis.opened.layers.push(L.circleMarker(place, {
      pane: "attention", className: "map-spot", radius: 9, interactive: false,
    }).addTo(housevis.map));
  }
  if (!picture) return L.latLng(place).toBounds(housevis.houses.pictures ? 120 : 300);
  const bounds = L.latLngBounds(housevis.corners(picture.bounds));
  housevis.opened.layers.push(L.imageOverlay(picture.file, bounds, {
    pane: "picture", className: "map-picture", alt: "",
  }).addTo(housevis.map));
  const overlay = housevis.overlayLayer(overlays, "attention");
  if (overlay) housevis.opened.layers.push(overlay.addTo(housevis.map));
  return bounds;
};

/* What the panel and the card cover of the map; its credits move above a card that lies below. */
housevis.covered = function () {
  const whole = housevis.map.getContainer().getBoundingClientRect();
  const card = document.getElementById("card").getBoundingClientRect();
  const search = document.querySelector(".controls .search").getBoundingClientRect();
  const beside = window.innerWidth > 900;
  const under = beside ? 0 : whole.bottom - card.top;
  const credits = document.querySelector(".leaflet-control-attribution");
  credits.parentElement.style.bottom = `${under}px`;
  return {
    animate: false,
    paddingTopLeft: beside ? [330, 24] : [8, search.bottom - whole.top + 8],
    paddingBottomRight: beside ? [card.width + 24, 24] : [8, under + credits.offsetHeight + 4],
  };
};

/* A place that the card would hide, or that is too far away to be seen, comes into view. */
housevis.bringIntoView = function (place) {
  if (housevis.map.getZoom() < housevis.CLEAR_ZOOM) housevis.map.setView(place, 17, { animate: false });
  const { paddingTopLeft: [left, top], paddingBottomRight: [right, bottom] } = housevis.covered();
  housevis.map.panInside(place, {
    animate: false, paddingTopLeft: [left + 24, top + 24], paddingBottomRight: [right + 24, bottom + 24],
  });
};

/* Fill what the card leaves of the map with the house's picture, between whole zooms if need be. */
housevis.drawOnMap = function () {
  const { map } = housevis;
  map.invalidateSize({ animate: false, pan: false });
  const bounds = housevis.drawSelected();
  const snap = map.options.zoomSnap;
  map.options.zoomSnap = 0;
  map.fitBounds(bounds, { ...housevis.covered(), maxZoom: 19.5 });
  map.options.zoomSnap = snap;
};

/* After another overlay was chosen: the house on the map and the picture on the card. */
housevis.redrawSelected = function () {
  if (!housevis.opened.house) return;
  housevis.drawSelected();
  housevis.fillPicture(document.getElementById("card"));
};

housevis.closeButton = function () {
  return housevis.element("button", {
    type: "button", class: "close", "aria-label": "Close", onclick: housevis.close,
  }, "×");
};

document.addEventListener("keydown", function (event) {
  if (event.key === "Escape" && !document.getElementById("card").hidden) housevis.close();
});
