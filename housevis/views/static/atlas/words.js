"use strict";

/* Shared by the scripts of the map: formats, building of elements, loading of details. */
var housevis = { houses: null, chunks: new Map() };

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

housevis.money = function (amount) {
  return new Intl.NumberFormat("en-US", {
    style: "currency", currency: housevis.houses.currency, currencyDisplay: "narrowSymbol",
    maximumFractionDigits: 0,
  }).format(amount).replace("-", "−");
};

/* An estimate rounded to three digits: the last ones would promise what no model knows. */
housevis.rounded = function (amount, direction) {
  if (!amount) return housevis.money(0);
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.abs(amount))) - 2);
  return housevis.money(Math[direction || "round"](amount / step) * step);
};

housevis.signedMoney = function (amount) {
  return (amount > 0 ? "+" : "") + housevis.rounded(amount);
};

housevis.shortMoney = function (amount) {
  return new Intl.NumberFormat("en-US", {
    style: "currency", currency: housevis.houses.currency, currencyDisplay: "narrowSymbol",
    notation: "compact", maximumSignificantDigits: 3,
  }).format(amount);
};

housevis.shortNumber = function (amount) {
  return new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 }).format(amount);
};

housevis.signedPercent = function (share, decimals) {
  const text = (Math.abs(share) * 100).toFixed(decimals || 0);
  const sign = Number(text) === 0 ? "" : share > 0 ? "+" : "−";
  return `${sign}${text} %`;
};

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

/* (estimate - price) / price of one sale. */
housevis.error = function (row) {
  return housevis.houses.estimate[row] / housevis.houses.price[row] - 1;
};

/* Called by a chunk's script when it has loaded. */
housevis.receive = function (number, details) {
  housevis.chunks.get(number).arrived(details);
};

/* The details of one sale; its chunk is loaded by a script element, which works from disk too. */
housevis.detail = function (row) {
  const number = Math.floor(row / housevis.houses.chunkSize);
  if (!housevis.chunks.has(number)) {
    const chunk = {};
    chunk.promise = new Promise(function (resolve, reject) {
      chunk.arrived = resolve;
      const source = `data/details-${number}.js`;
      const failed = function () {
        housevis.chunks.delete(number);
        reject(new Error(`The file ${source} beside this page could not be read.`));
      };
      document.head.append(housevis.element("script", { src: source, async: true, onerror: failed }));
    });
    housevis.chunks.set(number, chunk);
  }
  return housevis.chunks.get(number).promise.then((details) => details[row % housevis.houses.chunkSize]);
};
