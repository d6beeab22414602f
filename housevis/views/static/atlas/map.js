"use strict";

/* The map: markers in clusters that carry a statistic, and a dot for every house. */

housevis.state = { colourBy: "price", selected: null };

housevis.PinIcon = L.Icon.extend({
  createIcon: function () {
    const row = this.options.row;
    const colour = housevis.colourOf(row);
    const text = housevis.saidOf([row]);
    return housevis.element("div", {
      class: "leaflet-marker-icon pin" + (housevis.state.selected === row ? " pin-selected" : ""),
      "aria-label": `House ${housevis.isolated(housevis.houses.house[row])}, ${housevis.mode().meaning} ${text}`,
      style: { background: colour, color: housevis.inkOn(colour) },
    }, text);
  },
  createShadow: function () { return null; },
});

/* A cluster: the median of what is coloured, how many houses, and a ring of their colours. */
housevis.clusterIcon = function (cluster) {
  const { colours } = housevis.houses.modes[housevis.state.colourBy];
  const rows = cluster.getAllChildMarkers().map((marker) => marker.options.icon.options.row);
  const counts = colours.concat(housevis.UNKNOWN).map(() => 0);
  for (const row of rows) counts[Math.min(housevis.classes[row], colours.length)] += 1;
  return housevis.ringIcon(counts, rows.length, housevis.saidOf(rows));
};

/* The icon of a ring: houses per class with the unknown last, how many together, and what is said of them. */
housevis.ringIcon = function (counts, count, said) {
  const { colours } = housevis.houses.modes[housevis.state.colourBy];
  let done = 0;
  const parts = [];
  counts.forEach(function (part, index) {
    if (!part) return;
    const from = (360 * done) / count;
    done += part;
    parts.push(`${colours[index] || housevis.UNKNOWN} ${from}deg ${(360 * done) / count}deg`);
  });
  const size = Math.round(56 + 4 * Math.log10(count));
  const number = count.toLocaleString("en-US");
  return L.divIcon({
    className: "ring",
    iconSize: [size, size],
    html: `<span style="background:conic-gradient(${parts.join(",")})"></span>` +
      `<b><span class="unseen">${housevis.mode().statistic} </span>${said}` +
      `<small>${number}<span class="unseen"> houses, press to zoom in</span></small></b>`,
  });
};

/* One dot per house under the clusters: the shape of the market where there is no base map. */
housevis.DotLayer = L.GridLayer.extend({
  initialize: function (options) {
    L.GridLayer.prototype.initialize.call(this, options);
    this.place();
  },
  /* Note where the houses are; again when more of them are known. */
  place: function () {
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
    const rim = document.body.classList.contains("on-imagery");
    pen.strokeStyle = "#ffffff";
    pen.lineWidth = Math.min(1, radius / 4);
    for (let row = 0; row < this._points.length; row += 1) {
      const x = this._points[row][0] * scale - coords.x * size.x;
      const y = this._points[row][1] * scale - coords.y * size.y;
      if (x < -radius || y < -radius || x > size.x + radius || y > size.y + radius) continue;
      if (!housevis.kept[row]) continue;
      pen.fillStyle = housevis.colourOf(row);
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
      if (rim) pen.stroke();
    }
    return tile;
  },
});

/* Called by the page when the map and its cluster group exist: load the houses and put them on it. The table of
   all houses, or, from a server of many, what a page needs to ask for those in view. */
housevis.start = function (map, cluster) {
  housevis.map = map;
  housevis.cluster = cluster;
  map.setView([0, 0], 2);
  map.getContainer().setAttribute("role", "main");
  map.getContainer().setAttribute("aria-label", "Map of sold houses");
  const source = (housevis.server && housevis.server.view) || "data/houses.js";
  housevis.load(source).then(function () {
    if (!housevis.houses) throw new Error(`The file ${source} beside this page is damaged.`);
    /* One frame for the browser to paint the page before the houses are sorted into clusters. */
    return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  }).then(housevis.begin).catch(housevis.showFailure);
};

housevis.begin = function () {
  const { map, cluster } = housevis;
  map.attributionControl.setPrefix('<a href="https://leafletjs.com">Leaflet</a>');
  const imagery = housevis.houses.pictures;
  if (imagery && imagery.attribution) {
    map.attributionControl.addAttribution(
      housevis.element("span", {}, housevis.given(housevis.credit(imagery.attribution))).innerHTML);
  }
  L.control.zoom({ position: "bottomleft" }).addTo(map);
  const panes = { ground: 250, dots: 300, picture: 350, overlays: 355, attention: 360 };
  for (const [name, height] of Object.entries(panes)) map.createPane(name).style.zIndex = height;

  cluster.options.iconCreateFunction = housevis.clusterIcon;
  cluster.on("click keypress", function (event) {
    if (event.type === "click" || event.originalEvent.key === "Enter") housevis.open(event.layer.options.icon.options.row);
  });
  if (housevis.houses.view) {
    housevis.startViewport();
  } else {
    housevis.markers = housevis.houses.price.map((_, row) => housevis.markerOf(row));
    housevis.fit(housevis.markers.map((marker) => marker.getLatLng()));
  }
  housevis.classify();
  housevis.sift();
  housevis.cluster.addLayers(housevis.markers);
  housevis.dots = new housevis.DotLayer({ pane: "dots", updateWhenZooming: false }).addTo(map);
  housevis.startControls();
  housevis.startNewHouses();
  document.getElementById("waiting").hidden = true;
  document.body.classList.add("ready");
  window.addEventListener("hashchange", housevis.openFromAddress);
  housevis.openFromAddress();
  performance.mark("housevis-ready");
};

housevis.markerOf = (row) => L.marker(housevis.place(row), { icon: new housevis.PinIcon({ row: row }) });

/* Show an area beside the panel. */
housevis.fit = function (area) {
  housevis.map.fitBounds(L.latLngBounds(area), {
    animate: false, maxZoom: 17,
    paddingTopLeft: [window.innerWidth > 900 ? 320 : 24, 64], paddingBottomRight: [24, 24],
  });
};

/* The page without its data: what is wrong, and what helps. */
housevis.showFailure = function (problem) {
  document.getElementById("waiting").replaceChildren(
    housevis.element("h2", {}, "The houses could not be loaded"),
    housevis.element("p", {}, problem.message),
    housevis.element("p", {}, "Open the page from its whole folder: the files in data/ belong to it. "
      + "If they are lost, build the map again with housevis atlas."));
  document.getElementById("waiting").setAttribute("role", "alert");
};

/* Put the houses that pass the filters on the map. */
housevis.refill = function () {
  const count = housevis.sift();
  housevis.cluster.clearLayers();
  housevis.cluster.addLayers(housevis.markers.filter((_, row) => housevis.kept[row] && row !== housevis.state.selected));
  housevis.dots.redraw();
  housevis.drawLayers();
  return count;
};

/* Paint everything anew after a change of colours or of the selected house. */
housevis.repaint = function () {
  housevis.cluster.refreshClusters();
  for (const marker of housevis.markers) if (marker._icon) marker.setIcon(marker.options.icon);
  housevis.dots.redraw();
};
