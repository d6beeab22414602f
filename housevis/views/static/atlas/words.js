"use strict";

/* Shared by the scripts of the map: formats, building of elements, loading of details. */
var housevis = { houses: null, server: null, chunks: new Map(), hashes: {} };

/* An element with attributes and children; texts become text, never markup. */
housevis.element = function (tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") Object.assign(made.style, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
  return made;
};

/* What a part of an address says; as it is written where it is not validly percent-encoded. */
housevis.decoded = function (written) {
  try {
    return decodeURIComponent(written);
  } catch (problem) {
    return written;
  }
};

/* Text of listings: its own writing direction, whatever the words around it. */
housevis.given = (text) => housevis.element("bdi", {}, text);

/* The same where there are no elements, as in a title: between invisible marks, if the text needs them. */
housevis.isolated = function (text) {
  return /[\u0590-\u08ff\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]|[\ud802-\ud83b]/.test(text)
    ? `\u2068${text}\u2069` : text;
};

/* What a house is called: its address, else its id. */
housevis.named = (house, address) => (address ? [housevis.given(address)] : ["House ", housevis.given(house)]);

housevis.money = function (amount) {
  return new Intl.NumberFormat("en-US", {
    style: "currency", currency: housevis.houses.currency, currencyDisplay: "narrowSymbol",
    maximumFractionDigits: 0,
  }).format(amount).replace("-", "−");
};

/* An estimate to four digits, so that its drivers add up to it, as on the printed report. */
housevis.fourDigits = function (amount) {
  return housevis.money(Number(amount.toPrecision(4)));
};

/* An amount rounded to three digits: the last ones would promise what no model knows. */
housevis.rounded = function (amount, direction) {
  if (!amount) return housevis.money(0);
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.abs(amount))) - 2);
  return housevis.money(Math[direction || "round"](amount / step) * step);
};

housevis.signedMoney = function (amount) {
  return (amount > 0 ? "+" : "") + housevis.rounded(amount);
};

housevis.shortMoney = function (amount, digits) {
  return new Intl.NumberFormat("en-US", {
    style: "currency", currency: housevis.houses.currency, currencyDisplay: "narrowSymbol",
    notation: "compact", maximumSignificantDigits: digits || 3,
  }).format(amount).replace("-", "−");
};

housevis.shortNumber = function (amount) {
  return new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 }).format(amount);
};

/* The unit that areas are told in, and an area in it; `squareMetres` of the data says how much one unit is. */
housevis.areaUnitWords = () => (housevis.houses.areaUnit === "ft2" ? "sq ft" : "m²");
housevis.areaWords = (squareMetres) =>
  `${Math.round(squareMetres / housevis.houses.squareMetres).toLocaleString("en-US")} ${housevis.areaUnitWords()}`;

/* Ground that amounts of the value map are told by: its size in square metres and its name. */
housevis.groundUnit = function () {
  const size = housevis.houses.areaUnit === "ft2" ? 1000 : 100;
  return [size * housevis.houses.squareMetres, `${size.toLocaleString("en-US")} ${housevis.areaUnitWords()}`];
};

housevis.signedPercent = function (share, decimals) {
  const text = (Math.abs(share) * 100).toFixed(decimals || 0);
  const sign = Number(text) === 0 ? "" : share > 0 ? "+" : "−";
  return `${sign}${text} %`;
};

/* Whose imagery it is, without the word that stands before it anyway. */
housevis.credit = (attribution) => `Imagery: ${attribution.replace(/^(Source|Imagery): /, "")}`;

housevis.date = function (day) {
  return new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "long", year: "numeric", timeZone: "UTC",
  }).format(new Date(day * 86400000));
};

housevis.saleId = function (row) {
  const day = new Date(housevis.houses.day[row] * 86400000).toISOString().slice(0, 10);
  return `${housevis.houses.house[row]}@${day}`;
};

housevis.place = function (row) {
  const { origin, unit, latitude, longitude } = housevis.houses;
  return [origin[0] + latitude[row] * unit, origin[1] + longitude[row] * unit];
};

/* One coordinate to about a metre. */
housevis.degrees = (degrees) => degrees.toFixed(5).replace("-", "−");

/* East and north of `start` in metres. */
housevis.metresFrom = function (start, place) {
  const perDegree = 111195;
  const east = ((((place[1] - start[1] + 180) % 360) + 360) % 360) - 180;
  return [east * perDegree * Math.cos((start[0] * Math.PI) / 180), (place[0] - start[0]) * perDegree];
};

housevis.metresTo = (place, row) => Math.hypot(...housevis.metresFrom(place, housevis.place(row)));

housevis.distance = function (metres) {
  if (metres < 995) return `${metres >= 100 ? Math.round(metres / 10) * 10 : Math.round(metres)} m`;
  const decimals = metres < 9950 ? 1 : 0;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return `${(metres / 1000).toLocaleString("en-US", digits)} km`;
};

/* (estimate - price) / price of one sale. */
housevis.error = function (row) {
  return housevis.houses.estimate[row] / housevis.houses.price[row] - 1;
};

/* The same as housevis.views.house_chunks.chunk_of: FNV-1a (32 bit) of the text in UTF-8. */
housevis.chunkOf = function (text, chunks) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value % chunks;
};

/* Load a script file beside the page by a script element, which works from disk too. A published page names the
   hash of every script, and the browser runs no other one. */
housevis.load = async function (source) {
  const named = document.getElementById("hashes");
  return housevis.addScript(source, named ? await housevis.hashOf(source, JSON.parse(named.textContent)) : null);
};

/* The hash of a script; those of a group of scripts are loaded with the first of them. */
housevis.hashOf = async function (source, groups) {
  const number = housevis.chunkOf(source, groups.length);
  if (!housevis.hashes[source]) await housevis.addScript(`hashes/${number}.js`, groups[number]);
  if (!housevis.hashes[source]) throw new Error(`The file ${source} was not published with this page.`);
  return housevis.hashes[source];
};

housevis.addScript = function (source, integrity) {
  return new Promise(function (resolve, reject) {
    const damaged = integrity ? ", or is not the one that was published" : "";
    const failed = () => reject(new Error(`The file ${source} beside this page could not be read${damaged}.`));
    document.head.append(
      housevis.element("script", { src: source, integrity, async: true, onload: resolve, onerror: failed }));
  });
};

/* Called by a script of hashes when it has loaded. */
housevis.receiveHashes = function (hashes) {
  Object.assign(housevis.hashes, hashes);
};

/* Called by the script of a chunk when it has loaded. */
housevis.receive = function (number, details) {
  housevis.chunks.get(`details-${number}`).content = details;
};

housevis.receiveOverlays = function (number, overlays) {
  housevis.chunks.get(`overlays-${number}`).content = overlays;
};

/* What one chunk of `kind` says of one sale; every chunk is loaded once, and again only after a failure. */
housevis.fromChunk = function (kind, known) {
  const { chunkSize: size, mapRow } = housevis.houses;
  const row = mapRow ? mapRow[known] : known;
  if (row === null) return Promise.reject(new Error("The map was built without this house."));
  const name = `${kind}-${Math.floor(row / size)}`;
  if (!housevis.chunks.has(name)) {
    const chunk = { content: null };
    housevis.chunks.set(name, chunk);
    chunk.promise = housevis.load(`data/${name}.js`).then(function () {
      if (chunk.content === null) throw new Error(`The file data/${name}.js beside this page is damaged.`);
      return chunk.content;
    }).catch(function (problem) {
      housevis.chunks.delete(name);
      throw problem;
    });
  }
  return housevis.chunks.get(name).promise.then((content) => content[row % size]);
};

housevis.detail = (row) => housevis.fromChunk("details", row);

/* The overlays of one sale: `attention`, `value` and `bounds`; null where it has none. */
housevis.overlaysOf = function (row) {
  return housevis.houses.pictures ? housevis.fromChunk("overlays", row) : Promise.resolve(null);
};

/* West, south, east, north as Leaflet's pair of corners. */
housevis.corners = (bounds) => [[bounds[1], bounds[0]], [bounds[3], bounds[2]]];

housevis.median = function (values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};
