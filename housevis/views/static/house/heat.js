"use strict";

/* Maps over a picture, coloured as housevis.explain.heatmap colours them: by the square root of value / scale. */

/* Rows of a colour table: [red, green, blue, opacity], 0 to 255. */
housevis.colourTable = function (kind) {
  const hex = housevis.houses.colours[kind];
  const table = [];
  for (let at = 0; at < hex.length; at += 8) {
    table.push([0, 2, 4, 6].map((part) => parseInt(hex.slice(at + part, at + part + 2), 16)));
  }
  return table;
};

/* The row of a value's colour. Signed tables have no effect in the middle. */
housevis.colourRow = function (value, scale, table, signed) {
  const levels = signed ? (table.length - 1) / 2 : table.length - 1;
  const level = Math.round(Math.sqrt(Math.min(1, Math.abs(value) / scale)) * levels);
  if (signed) return levels + Math.sign(value) * level;
  return value > 0 ? level : 0;
};

/* Where `pixels` places lie among `cells` cells: the left cell and the share of the right one. */
housevis.between = function (cells, pixels) {
  return Array.from({ length: pixels }, function (_, pixel) {
    const place = Math.min(cells - 1, Math.max(0, ((pixel + 0.5) * cells) / pixels - 0.5));
    const left = Math.min(Math.floor(place), Math.max(cells - 2, 0));
    return [left, Math.min(left + 1, cells - 1), place - left];
  });
};

/* The values of a map, row by row from the north: signed bytes, evenly spaced in the square root. */
housevis.mapValues = function (map) {
  const bytes = Int8Array.from(window.atob(map.levels), (letter) => letter.charCodeAt(0));
  const values = Array.from(bytes, (level) => Math.sign(level) * map.scale * (level / 127) ** 2);
  return Array.from({ length: map.rows }, (_, row) => values.slice(row * map.columns, (row + 1) * map.columns));
};

housevis.mapCanvas = function (map, kind) {
  const cell = Math.max(4, Math.round(224 / map.columns));
  return housevis.heatCanvas(housevis.mapValues(map), map.scale, kind, cell);
};

/* A canvas with values; `kind` is "attention" or "value". */
housevis.heatCanvas = function (values, scale, kind, pixelsPerCell) {
  const signed = kind === "value";
  const table = housevis.colourTable(kind);
  const rows = housevis.between(values.length, values.length * pixelsPerCell);
  const columns = housevis.between(values[0].length, values[0].length * pixelsPerCell);
  const canvas = housevis.element("canvas", { width: columns.length, height: rows.length, "aria-hidden": "true" });
  const picture = canvas.getContext("2d").createImageData(columns.length, rows.length);
  let at = 0;
  for (const [top, bottom, down] of rows) {
    for (const [left, right, along] of columns) {
      const above = values[top][left] * (1 - along) + values[top][right] * along;
      const below = values[bottom][left] * (1 - along) + values[bottom][right] * along;
      const value = above * (1 - down) + below * down;
      picture.data.set(table[housevis.colourRow(value, scale, table, signed)], at);
      at += 4;
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
};

/* The colours from end to end, evenly in the value. */
housevis.legendCanvas = function (kind) {
  const steps = 128;
  const from = kind === "value" ? -1 : 0;
  const values = Array.from({ length: steps }, (_, step) => from + ((1 - from) * step) / (steps - 1));
  return housevis.heatCanvas([values], 1, kind, 1);
};
