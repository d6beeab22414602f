"use strict";

/* Layers: what lies under the houses, attention and value maps on top and how strongly they show, parcels. */

housevis.GROUND_ZOOM = 15;
housevis.OVERLAY_ZOOM = 17;
housevis.layers = { pictures: false, all: false, parcels: false, overlay: "attention", opacity: 0.75 };
housevis.ground = new Map();
housevis.spread = new Map();

/* Keep `shown` (row -> layer) in step with the wanted rows; `make` promises the layer of a row, or null. */
housevis.keepInStep = function (shown, wanted, make) {
  for (const [row, layer] of shown) {
    if (wanted.has(row)) continue;
    if (layer) layer.remove();
    shown.delete(row);
  }
  for (const row of wanted) {
    if (shown.has(row)) continue;
    shown.set(row, null);
    make(row).then(function (layer) {
      if (!layer || shown.get(row) !== null) return;
      shown.set(row, layer.addTo(housevis.map));
      housevis.applyOpacity();
    }, () => shown.delete(row));
  }
};

/* The houses in view that pass the filters, none below a zoom. */
housevis.rowsInView = function (zoom, most) {
  const rows = new Set();
  if (housevis.map.getZoom() < zoom) return rows;
  const view = housevis.map.getBounds().pad(0.1);
  for (let row = 0; row < housevis.houses.price.length && rows.size < most; row += 1) {
    if (housevis.kept[row] && view.contains(housevis.place(row))) rows.add(row);
  }
  return rows;
};

housevis.drawLayers = function () {
  const { pictures, all, overlay } = housevis.layers;
  housevis.sayZoom();
  if (!housevis.houses.pictures) return;
  housevis.keepInStep(housevis.ground, pictures ? housevis.rowsInView(housevis.GROUND_ZOOM, 500) : new Set(),
    (row) => housevis.detail(row).then((detail) => (detail.picture
      ? L.imageOverlay(detail.picture.file, housevis.corners(detail.picture.bounds), { pane: "ground", alt: "" }) : null)));
  const wanted = all && overlay !== "none" ? housevis.rowsInView(housevis.OVERLAY_ZOOM, 200) : new Set();
  wanted.delete(housevis.state.selected);
  housevis.keepInStep(housevis.spread, wanted, (row) => housevis.overlaysOf(row).then((overlays) =>
    housevis.overlayLayer(overlays, "overlays")));
};

/* The chosen overlay of a house as a layer that lies where it lies on the ground; null where there is none. */
housevis.overlayLayer = function (overlays, pane) {
  const address = overlays && overlays[housevis.layers.overlay];
  if (!address) return null;
  return L.imageOverlay(address, housevis.corners(overlays.bounds), {
    pane: pane, className: "overlay-image map-overlay", alt: "",
  });
};

housevis.applyOpacity = function () {
  for (const image of document.querySelectorAll(".overlay-image")) image.style.opacity = String(housevis.layers.opacity);
};

/* What a layer that is switched on waits for. */
housevis.sayZoom = function () {
  const zoom = housevis.map.getZoom();
  const far = [];
  if (housevis.layers.pictures && zoom < housevis.GROUND_ZOOM) far.push("the pictures");
  if (housevis.layers.all && housevis.layers.overlay !== "none" && zoom < housevis.OVERLAY_ZOOM) far.push("the overlays");
  if (housevis.layers.parcels && zoom < housevis.PARCEL_ZOOM) far.push("the parcels");
  const hint = document.getElementById("zoom-hint");
  if (!hint) return;
  const words = [
    far.length ? `Zoom in to see ${far.join(", ").replace(/, ([^,]*)$/, " and $1")}.` : "",
    housevis.parcels.problem ? "Some parcels could not be read: the files in data/ belong to the page." : "",
  ].filter(Boolean).join(" ");
  hint.textContent = words;
  hint.hidden = !words;
};

/* Three choices and a slider, in the panel and on the card alike; `place` tells their names apart. */
housevis.overlayControls = function (place) {
  const element = housevis.element;
  const kinds = [["attention", "Attention"], ["value", "Value map"], ["none", "None"]]
    .filter(([kind]) => kind !== "value" || housevis.houses.pictures.legends.value);
  const choices = kinds.map(([kind, words]) => element("label", {},
    element("input", {
      type: "radio", name: `overlay-${place}`, value: kind, checked: housevis.layers.overlay === kind,
      onchange: () => housevis.chooseOverlay(kind),
    }), element("span", {}, words)));
  const slider = element("input", {
    type: "range", class: "opacity", min: "0", max: "100", step: "5", "aria-label": "Opacity of the overlay",
    value: String(Math.round(housevis.layers.opacity * 100)),
    oninput: function () {
      housevis.layers.opacity = Number(slider.value) / 100;
      housevis.followControls();
    },
  });
  return element("div", { class: "overlay-controls" },
    element("fieldset", { class: "switch" }, element("legend", {}, "Overlay"), choices),
    element("label", { class: "opacity-line" }, element("span", {}, "Opacity"), slider, element("output", {})),
    element("div", { class: "overlay-legend" }));
};

/* The colours of the overlay that is chosen. */
housevis.overlayLegend = function () {
  const element = housevis.element;
  const { legends } = housevis.houses.pictures;
  const { overlay } = housevis.layers;
  if (overlay === "none") return [];
  const bar = (address) => element("i", { "aria-hidden": "true", style: { backgroundImage: `url(${address})` } });
  if (overlay === "attention") {
    return [element("span", {}, "no attention"), bar(legends.attention), element("span", {}, "most")];
  }
  const [size, words] = housevis.groundUnit();
  const { perSquareMetre } = legends.value;
  const end = perSquareMetre === null ? "" : housevis.rounded(perSquareMetre * size);
  return [element("span", {}, end ? `−${end}` : "lowers"), bar(legends.value.uri), element("span", {}, end ? `+${end}` : "raises"),
    element("small", {}, `of the estimate, per ${words} of ground`)];
};

/* Bring every copy of the controls, and what they control, to the same state. */
housevis.followControls = function () {
  for (const radio of document.querySelectorAll(".overlay-controls input[type=radio]")) {
    radio.checked = radio.value === housevis.layers.overlay;
  }
  const share = Math.round(housevis.layers.opacity * 100);
  for (const slider of document.querySelectorAll(".opacity")) {
    slider.value = String(share);
    slider.disabled = housevis.layers.overlay === "none";
    slider.parentElement.querySelector("output").textContent = `${share} %`;
  }
  for (const legend of document.querySelectorAll(".overlay-legend")) legend.replaceChildren(...housevis.overlayLegend());
  housevis.applyOpacity();
};

housevis.chooseOverlay = function (kind) {
  housevis.layers.overlay = kind;
  for (const layer of housevis.spread.values()) if (layer) layer.remove();
  housevis.spread.clear();
  housevis.drawLayers();
  housevis.redrawSelected();
  housevis.followControls();
};

/* Imagery under the houses: the base map where there is one, else the pictures of the houses in view. */
housevis.showGround = function (wanted) {
  const { baseMap } = housevis.houses.pictures;
  document.body.classList.toggle("on-imagery", wanted);
  document.body.classList.toggle("on-base-map", wanted && baseMap);
  if (baseMap) housevis.showBaseMap(wanted);
  else housevis.layers.pictures = wanted;
  housevis.dots.redraw();
  housevis.drawLayers();
};

housevis.startLayers = function () {
  const { pictures, parcels } = housevis.houses;
  const byId = (name) => document.getElementById(name);
  housevis.map.on("moveend", housevis.drawLayers);
  if (parcels) {
    housevis.map.createPane("parcels").style.zIndex = 365;
    if (parcels.attribution) {
      housevis.map.attributionControl.addAttribution(
        housevis.element("span", {}, "Parcels: ", housevis.given(parcels.attribution)).innerHTML);
    }
    const lines = byId("parcels");
    lines.checked = true;
    lines.addEventListener("change", function () {
      housevis.showParcels(lines.checked);
      housevis.sayZoom();
    });
    housevis.showParcels(true);
    housevis.sayZoom();
  }
  if (!pictures) return;
  byId("overlay-place").append(housevis.overlayControls("map"));
  const base = byId("base");
  base.checked = pictures.baseMap;
  base.addEventListener("change", () => housevis.showGround(base.checked));
  const all = byId("all-overlays");
  all.checked = false;
  all.addEventListener("change", function () {
    housevis.layers.all = all.checked;
    housevis.drawLayers();
  });
  housevis.showGround(base.checked);
  housevis.followControls();
};
