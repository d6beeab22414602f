"use strict";

/* The map of a market that is too large for one table: what the screen shows is asked of the server as the map moves.
   Many houses are rings of the server's cells; few are pins and rings as on every other map. */

housevis.PAUSE = 150;
housevis.DEEPEST_CELLS = 18;
housevis.CELL = 64;
housevis.seen = { answer: null, question: null, zoom: 0, rows: new Set(), cells: [], rings: new Map(), mode: null };

/* The zoom that the server is asked for: one less than the map's, so that cells are twice as wide and rings have space. */
housevis.askedZoom = (zoom) => (zoom > housevis.DEEPEST_CELLS ? zoom : Math.max(0, zoom - 1));

housevis.startViewport = function () {
  const { map, houses, repaint } = housevis;
  housevis.markers = [];
  housevis.rings = L.layerGroup().addTo(map);
  housevis.startNotes();
  Object.assign(housevis, housevis.fromServer, {
    passes: (row) => housevis.seen.rows.has(row),
    refill: housevis.lookSoon,
    repaint: function () {
      repaint();
      housevis.drawRings();
    },
  });
  housevis.showMarket();
  map.on("moveend", housevis.lookSoon);
  housevis.look();
};

/* All houses of the run. */
housevis.showMarket = function () {
  const [west, south, east, north] = housevis.houses.view.box;
  housevis.fit([[south, west], [north, east]]);
};

/* Look after a short pause, so that a quick pan is one question. */
housevis.lookSoon = function () {
  clearTimeout(housevis.pending);
  housevis.pending = setTimeout(housevis.look, housevis.PAUSE);
};

/* West, south, east, north of what the screen shows of the world; null beyond its edges. */
housevis.boxInView = function () {
  const bounds = housevis.map.getBounds();
  const box = [
    Math.max(bounds.getWest(), -180), Math.max(bounds.getSouth(), -90),
    Math.min(bounds.getEast(), 180), Math.min(bounds.getNorth(), 90),
  ];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
};

/* Ask for what the screen shows, unless the last answer holds it. */
housevis.look = async function () {
  const { seen } = housevis;
  clearTimeout(housevis.pending);
  const filters = housevis.filterParameters();
  const box = housevis.boxInView();
  const zoom = Math.round(housevis.map.getZoom());
  const question = JSON.stringify([zoom, filters]);
  if (!filters || !box) {
    housevis.leave("view");
    return housevis.showView({ content: housevis.content, box: box, count: 0, houses: [], cells: null }, question, zoom);
  }
  if (seen.question === question && seen.answer.box
    && box.every((edge, at) => (at < 2 ? edge >= seen.answer.box[at] : edge <= seen.answer.box[at]))) {
    housevis.leave("view");
    return housevis.sayCount();
  }
  housevis.sayLoading();
  let answer;
  try {
    answer = await housevis.newest("view", "houses", [
      ["bbox", box.map((edge) => edge.toFixed(6)).join(",")],
      ["zoom", housevis.askedZoom(zoom)], ...filters,
    ]);
  } catch (problem) {
    if (problem.name !== "AbortError") housevis.sayProblem(problem, housevis.look);
    return undefined;
  }
  return housevis.showView(answer, question, zoom);
};

/* Put an answer on the map; what was there already stays untouched. */
housevis.showView = function (answer, question, zoom) {
  const { seen, cluster, markers } = housevis;
  const before = seen.rows;
  const rows = housevis.learn({ content: answer.content, houses: answer.houses || [] });
  Object.assign(seen, { answer: answer, question: question, zoom: zoom, rows: new Set(rows), cells: answer.cells || [] });
  housevis.classify();
  housevis.sift();
  const gone = [...before].filter((row) => !seen.rows.has(row));
  const come = rows.filter((row) => !before.has(row));
  if (gone.length) cluster.removeLayers(gone.map((row) => markers[row]));
  if (come.length) cluster.addLayers(come.map((row) => markers[row]));
  if (gone.length || come.length) {
    housevis.dots.place();
    housevis.dots.redraw();
  }
  housevis.drawRings();
  housevis.drawLayers();
  housevis.sayCount();
};

/* Where a ring stands: amid the houses of its cell, but so that it does not reach over into the next one. */
housevis.ringPlace = function (cell, icon) {
  const { zoom } = housevis.seen;
  const side = housevis.CELL * 2 ** (zoom - housevis.askedZoom(zoom));
  const point = housevis.map.project([cell.latitude, cell.longitude], zoom);
  const edge = Math.min(icon.options.iconSize[0], side) / 2;
  const inside = (at) => Math.max(edge, Math.min(side - edge, at % side)) - (at % side);
  return housevis.map.unproject(point.add([inside(point.x), inside(point.y)]), zoom);
};

/* The rings of the cells; those that the map has already stay, and the focus with them. */
housevis.drawRings = function () {
  const { seen, rings, map } = housevis;
  const { colourBy } = housevis.state;
  const wanted = new Map(seen.cells.map((cell) => [[seen.zoom, cell.latitude, cell.longitude, cell.count].join(), cell]));
  const hadFocus = document.activeElement !== null && document.activeElement.classList.contains("ring");
  for (const [key, marker] of seen.rings) {
    if (wanted.has(key) && seen.mode === colourBy) continue;
    rings.removeLayer(marker);
    seen.rings.delete(key);
  }
  seen.mode = colourBy;
  for (const [key, cell] of wanted) {
    if (seen.rings.has(key)) continue;
    const said = cell[colourBy] === null ? "–" : housevis.mode().text(cell[colourBy]);
    const icon = housevis.ringIcon(cell.classes[colourBy], cell.count, said);
    const nearer = (event) => {
      if (event.type === "keypress" && event.originalEvent.key !== "Enter") return;
      map.setView([cell.latitude, cell.longitude], Math.min(Math.round(map.getZoom()) + 2, map.getMaxZoom()));
    };
    seen.rings.set(key, L.marker(housevis.ringPlace(cell, icon), { icon: icon }).on("click keypress", nearer).addTo(rings));
  }
  if (hadFocus && !document.activeElement.classList.contains("ring")) map.getContainer().focus({ preventScroll: true });
};

/* How many houses the screen shows, and what helps where it shows none. */
housevis.sayCount = function () {
  const { seen, map, houses } = housevis;
  const view = map.getBounds();
  const shown = seen.answer.cells
    ? seen.cells.reduce((sum, cell) => sum + (view.contains([cell.latitude, cell.longitude]) ? cell.count : 0), 0)
    : [...seen.rows].filter((row) => view.contains(housevis.place(row))).length;
  const filters = housevis.filterParameters();
  const filtered = !filters || filters.length > 0;
  const number = shown.toLocaleString("en-US");
  document.getElementById("shown").textContent = filtered ? `${number} houses in this view pass the filters`
    : `${number} of ${houses.view.houses.toLocaleString("en-US")} houses in view`;
  const reset = document.getElementById("reset");
  reset.hidden = !filtered;
  const listed = seen.answer.houses ? seen.answer.houses.length : 0;
  if (seen.answer.houses && listed < seen.answer.count) {
    housevis.sayNote(`Only ${listed.toLocaleString("en-US")} of ${seen.answer.count.toLocaleString("en-US")} houses around here are shown.`);
  } else if (shown) {
    housevis.sayNote("");
  } else if (filtered) {
    housevis.sayNote("No house in this view passes these filters.", ["Take the filters away", () => reset.click()]);
  } else {
    housevis.sayNote("No house was sold in this view.", ["Show the whole market", housevis.showMarket]);
  }
};
