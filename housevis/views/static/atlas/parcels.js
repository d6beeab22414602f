"use strict";

/* Parcels: thin lines on the map, and the one that a house stands on over its picture. */

housevis.PARCEL_ZOOM = 17;
housevis.parcels = { boxes: null, found: null, chunks: new Map(), layer: null, problem: false };

/* Called by data/parcels.js: west, south, east, north of each file of parcels, millionths of a degree. */
housevis.receiveParcelIndex = function (boxes) {
  housevis.parcels.boxes = boxes;
};

/* Called by a file of parcels: per parcel its rings, as steps from the south-west of the file. */
housevis.receiveParcels = function (number, parcels) {
  const [west, south] = housevis.parcels.boxes[number];
  housevis.parcels.chunks.get(number).content = parcels.map((rings) => rings.map(function (steps) {
    const ring = [];
    let [x, y] = [west, south];
    for (let at = 0; at < steps.length; at += 2) {
      x += steps[at];
      y += steps[at + 1];
      ring.push([y / 1e6, x / 1e6]);
    }
    return ring;
  }));
};

/* Promise of all parcels of the files that touch a box in degrees; each file is loaded once, and again after a failure. */
housevis.parcelsIn = function (west, south, east, north) {
  const state = housevis.parcels;
  if (!state.found) {
    state.found = housevis.load("data/parcels.js").catch(function (problem) {
      state.found = null;
      throw problem;
    });
  }
  return state.found.then(function () {
    const wanted = [];
    state.boxes.forEach(function (box, number) {
      const [boxWest, boxSouth, boxEast, boxNorth] = box.map((edge) => edge / 1e6);
      if (boxWest <= east && boxEast >= west && boxSouth <= north && boxNorth >= south) wanted.push(number);
    });
    return Promise.all(wanted.map(housevis.parcelChunk)).then((chunks) => chunks.flat());
  });
};

housevis.parcelChunk = function (number) {
  const { chunks } = housevis.parcels;
  if (!chunks.has(number)) {
    const chunk = { content: null };
    chunks.set(number, chunk);
    chunk.promise = housevis.load(`data/parcels-${number}.js`).then(function () {
      if (chunk.content === null) throw new Error(`The file data/parcels-${number}.js beside this page is damaged.`);
      return chunk.content;
    }).catch(function (problem) {
      chunks.delete(number);
      throw problem;
    });
  }
  return chunks.get(number).promise;
};

housevis.ParcelLayer = L.GridLayer.extend({
  createTile: function (coords, done) {
    const size = this.getTileSize();
    const ratio = window.devicePixelRatio || 1;
    const tile = housevis.element("canvas", { width: size.x * ratio, height: size.y * ratio });
    const bounds = this._tileCoordsToBounds(coords);
    housevis.parcelsIn(bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()).then((parcels) => {
      const pen = tile.getContext("2d");
      pen.scale(ratio, ratio);
      const origin = coords.scaleBy(size);
      const lines = new Path2D();
      for (const ring of parcels.flat()) {
        ring.forEach(function (place, at) {
          const point = L.CRS.EPSG3857.latLngToPoint(L.latLng(place), coords.z).subtract(origin);
          if (at) lines.lineTo(point.x, point.y);
          else lines.moveTo(point.x, point.y);
        });
        lines.closePath();
      }
      for (const [colour, width] of [["rgb(16 24 32 / 55%)", 3], ["#ffe9a8", 1.3]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.stroke(lines);
      }
      done(null, tile);
    }).catch(function (problem) {
      housevis.parcels.problem = true;
      housevis.sayZoom();
      done(problem, tile);
    });
    return tile;
  },
});

housevis.showParcels = function (wanted) {
  const state = housevis.parcels;
  if (!state.layer) state.layer = new housevis.ParcelLayer({ pane: "parcels", minZoom: housevis.PARCEL_ZOOM, updateWhenZooming: false });
  state.problem = false;
  if (wanted) state.layer.addTo(housevis.map);
  else state.layer.remove();
  housevis.layers.parcels = wanted;
  housevis.redrawSelected();
};

/* Whether a place lies in a parcel, by the even-odd rule. */
housevis.inParcel = function (parcel, [latitude, longitude]) {
  let inside = false;
  for (const ring of parcel) {
    ring.forEach(function ([north, east], at) {
      const [before, west] = ring[at ? at - 1 : ring.length - 1];
      if ((north > latitude) !== (before > latitude)
        && longitude < ((west - east) * (latitude - north)) / (before - north) + east) inside = !inside;
    });
  }
  return inside;
};

/* Promise of the parcel that a place stands on; of nothing where there is none, or parcels are not shown. */
housevis.parcelAt = function (place) {
  if (!housevis.layers.parcels) return Promise.resolve(undefined);
  return housevis.parcelsIn(place[1], place[0], place[1], place[0])
    .then((parcels) => parcels.find((each) => housevis.inParcel(each, place)), () => undefined);
};

/* Draw the parcel of the card's house on the map, once it is known. */
housevis.drawParcel = function (house) {
  housevis.parcelAt(house.place).then(function (parcel) {
    if (!parcel || housevis.opened.house !== house || housevis.opened.layers.some((layer) => layer.isParcel)) return;
    for (const kind of ["map-parcel map-parcel-shade", "map-parcel"]) {
      const line = L.polygon(parcel, { pane: "parcels", className: kind, interactive: false, fill: false });
      line.isParcel = true;
      housevis.opened.layers.push(line.addTo(housevis.map));
    }
  });
};

/* Draw the parcel that a place stands on over its picture, once it is known. */
housevis.outlineParcel = function (frame, picture, place) {
  housevis.parcelAt(place).then(function (parcel) {
    if (!parcel) return;
    const [west, south, east, north] = picture.bounds;
    const line = parcel.map((ring) => `M${ring.map(([latitude, longitude]) =>
      `${((1000 * (longitude - west)) / (east - west)).toFixed(1)} ${((1000 * (north - latitude)) / (north - south)).toFixed(1)}`)
      .join("L")}Z`).join("");
    const drawn = (tag, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      return made;
    };
    const drawing = drawn("svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", class: "parcel-line", "aria-hidden": "true" });
    drawing.append(drawn("path", { d: line, class: "parcel-shade" }), drawn("path", { d: line }));
    frame.append(drawing);
    const section = frame.closest("section");
    if (section) section.querySelector(".parcel-mark").hidden = false;
  });
};
