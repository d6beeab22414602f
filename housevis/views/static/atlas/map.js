"use strict";

/* The map: markers in clusters, a dot for every house, pictures as ground. */

housevis.palettes = {
  price: ["#482677", "#3b528b", "#2c728e", "#21918c", "#3fbc73", "#a0da39", "#fde725"],
  error: ["#1f5fa8", "#8fbfe3", "#dcdcd6", "#f7b267", "#b5510a"],
};
housevis.errorLimits = [-0.2, -0.1, 0.1, 0.2];
housevis.state = { colourBy: "price", from: null, to: null, selected: null, base: false };

housevis.classOf = function (row) {
  const byPrice = housevis.state.colourBy === "price";
  const limits = byPrice ? housevis.houses.priceLimits : housevis.errorLimits;
  const value = byPrice ? housevis.houses.price[row] : housevis.error(row);
  let found = 0;
  while (found < limits.length && value >= limits[found]) found += 1;
  return found;
};

/* Colours of the classes: spread over the palette where there are fewer classes than colours. */
housevis.colours = function () {
  const palette = housevis.palettes[housevis.state.colourBy];
  if (housevis.state.colourBy === "error") return palette;
  const classes = housevis.houses.priceLimits.length + 1;
  return Array.from({ length: classes }, (_, index) =>
    palette[classes === 1 ? 3 : Math.round((index * (palette.length - 1)) / (classes - 1))]);
};

/* Black or white, whichever reads better on a colour. */
housevis.inkOn = function (colour) {
  const linear = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.19 ? "#10161d" : "#ffffff";
};

housevis.isShown = function (row) {
  const { from, to } = housevis.state;
  const price = housevis.houses.price[row];
  return (from === null || price >= from) && (to === null || price <= to);
};

housevis.PinIcon = L.Icon.extend({
  createIcon: function () {
    const row = this.options.row;
    const colour = housevis.colours()[housevis.classOf(row)];
    const byPrice = housevis.state.colourBy === "price";
    const text = byPrice ? housevis.shortMoney(housevis.houses.price[row])
      : housevis.signedPercent(housevis.error(row));
    const meaning = byPrice ? "sold for" : "estimate error";
    return housevis.element("div", {
      class: "leaflet-marker-icon pin" + (housevis.state.selected === row ? " pin-selected" : ""),
      "aria-label": `House ${housevis.houses.house[row]}, ${meaning} ${text}`,
      style: { background: colour, color: housevis.inkOn(colour) },
    }, text);
  },
  createShadow: function () { return null; },
});

/* A cluster: a ring of the colours of its houses around their number. */
housevis.clusterIcon = function (cluster) {
  const colours = housevis.colours();
  const counts = colours.map(() => 0);
  const rows = cluster.getAllChildMarkers();
  for (const marker of rows) counts[housevis.classOf(marker.options.icon.options.row)] += 1;
  let done = 0;
  const parts = [];
  counts.forEach(function (count, index) {
    if (!count) return;
    parts.push(`${colours[index]} ${(360 * done) / rows.length}deg ${(360 * (done + count)) / rows.length}deg`);
    done += count;
  });
  const size = Math.round(34 + 7 * Math.log10(rows.length));
  const number = rows.length.toLocaleString("en-US");
  return L.divIcon({
    className: "ring",
    iconSize: [size, size],
    html: `<span style="background:conic-gradient(${parts.join(",")})"></span>` +
      `<b>${number}<span class="unseen"> houses, press to zoom in</span></b>`,
  });
};

/* One dot per house under the clusters: the shape of the market where there is no base map. */
housevis.DotLayer = L.GridLayer.extend({
  initialize: function (options) {
    L.GridLayer.prototype.initialize.call(this, options);
    this._points = housevis.houses.price.map(function (_, row) {
      const point = L.CRS.EPSG3857.latLngToPoint(L.latLng(housevis.place(row)), 0);
      return [point.x, point.y];
    });
  },
  createTile: function (coords) {
    const size = this.getTileSize();
    const ratio = window.devicePixelRatio || 1;
    const tile = housevis.element("canvas", { width: size.x * ratio, height: size.y * ratio });
    const pen = tile.getContext("2d");
    pen.scale(ratio, ratio);
    const scale = 2 ** coords.z;
    const radius = Math.min(5, Math.max(1.5, (coords.z - 8) * 0.55));
    const colours = housevis.colours();
    for (let row = 0; row < this._points.length; row += 1) {
      const x = this._points[row][0] * scale - coords.x * size.x;
      const y = this._points[row][1] * scale - coords.y * size.y;
      if (x < -radius || y < -radius || x > size.x + radius || y > size.y + radius) continue;
      if (!housevis.isShown(row)) continue;
      pen.fillStyle = colours[housevis.classOf(row)];
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
    }
    return tile;
  },
});

/* Called by the page when the map and its cluster group exist. */
housevis.start = function (map, cluster) {
  housevis.map = map;
  housevis.cluster = cluster;
  map.attributionControl.setPrefix('<a href="https://leafletjs.com">Leaflet</a>');
  const imagery = housevis.houses.pictures;
  if (imagery && imagery.attribution) {
    map.attributionControl.addAttribution(
      housevis.element("span", {}, `Imagery: ${imagery.attribution}`).innerHTML);
  }
  L.control.zoom({ position: "bottomleft" }).addTo(map);
  const panes = { ground: 250, dots: 300, picture: 350, attention: 360 };
  for (const [name, height] of Object.entries(panes)) map.createPane(name).style.zIndex = height;

  cluster.options.iconCreateFunction = housevis.clusterIcon;
  housevis.markers = housevis.houses.price.map((_, row) =>
    L.marker(housevis.place(row), { icon: new housevis.PinIcon({ row: row }) }));
  cluster.on("click", (event) => housevis.open(event.layer.options.icon.options.row));
  housevis.dots = new housevis.DotLayer({ pane: "dots", updateWhenZooming: false }).addTo(map);
  map.on("moveend", housevis.drawGround);
  map.fitBounds(L.latLngBounds(housevis.houses.price.map((_, row) => housevis.place(row))), {
    animate: false, maxZoom: 17,
    paddingTopLeft: [window.innerWidth > 900 ? 320 : 24, 64], paddingBottomRight: [24, 24],
  });
  housevis.refill();
  housevis.startControls();
  window.addEventListener("hashchange", housevis.openFromAddress);
  housevis.openFromAddress();
};

/* Put the houses that pass the filter on the map. */
housevis.refill = function () {
  const kept = housevis.markers.filter((_, row) => housevis.isShown(row));
  housevis.cluster.clearLayers();
  housevis.cluster.addLayers(kept);
  housevis.dots.redraw();
  return kept.length;
};

/* Paint everything anew after a change of colours or of the selected house. */
housevis.repaint = function () {
  housevis.cluster.refreshClusters();
  for (const marker of housevis.markers) if (marker._icon) marker.setIcon(marker.options.icon);
  housevis.dots.redraw();
};

housevis.ground = new Map();

/* Pictures of the houses in view as the ground of the map, from a zoom where they can be seen. */
housevis.drawGround = function () {
  const wanted = new Set();
  if (housevis.state.base && housevis.map.getZoom() >= 15) {
    const view = housevis.map.getBounds().pad(0.1);
    for (let row = 0; row < housevis.houses.price.length && wanted.size < 500; row += 1) {
      if (view.contains(housevis.place(row))) wanted.add(row);
    }
  }
  for (const [row, layer] of housevis.ground) {
    if (wanted.has(row)) continue;
    if (layer) layer.remove();
    housevis.ground.delete(row);
  }
  for (const row of wanted) {
    if (housevis.ground.has(row)) continue;
    housevis.ground.set(row, null);
    housevis.detail(row).then(function (detail) {
      if (!detail.picture || housevis.ground.get(row) !== null) return;
      const layer = L.imageOverlay(detail.picture.file, housevis.corners(detail.picture.bounds), { pane: "ground" });
      housevis.ground.set(row, layer.addTo(housevis.map));
    }, () => housevis.ground.delete(row));
  }
};

/* West, south, east, north as Leaflet's pair of corners. */
housevis.corners = function (bounds) {
  return [[bounds[1], bounds[0]], [bounds[3], bounds[2]]];
};
