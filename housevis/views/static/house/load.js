"use strict";

/* Finding one house: its id stands behind the # of the address, its data in one of many small scripts. */
housevis.houseChunks = new Map();

/* Called by a chunk's script when it has loaded. */
housevis.receiveHouses = function (number, houses) {
  housevis.houseChunks.get(number).arrived(houses);
};

/* The details of one house, or undefined where the run shows none of this id. */
housevis.house = function (house) {
  const number = housevis.chunkOf(house, housevis.houses.chunks);
  if (!housevis.houseChunks.has(number)) {
    const chunk = {};
    chunk.promise = new Promise(function (resolve, reject) {
      chunk.arrived = resolve;
      housevis.load(`houses/chunk-${number}.js`).catch(function (problem) {
        housevis.houseChunks.delete(number);
        reject(problem);
      });
    });
    housevis.houseChunks.set(number, chunk);
  }
  return housevis.houseChunks.get(number).promise
    .then((houses) => houses.find((each) => each.house_id === house));
};

/* The id in the address; null where there is none. */
housevis.wantedHouse = function () {
  const written = window.location.hash.slice(1);
  if (!written) return null;
  return housevis.decoded(written);
};

housevis.houseLink = function (house) {
  return `#${encodeURIComponent(house)}`;
};

/* What a house is called, as an element. */
housevis.houseName = function (house) {
  return housevis.element("span", {}, housevis.named(house.house_id, house.address));
};

/* A day such as 2015-03-02 in words. */
housevis.dayWords = function (day) {
  return housevis.date(Date.parse(day) / 86400000);
};

/* Elements of drawings. */
housevis.drawn = function (tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, String(value));
  for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
  return made;
};

housevis.section = function (heading, kind, ...parts) {
  return housevis.element("section", { class: kind, "aria-label": heading },
    housevis.element("h2", {}, heading), ...parts);
};

housevis.note = function (...words) {
  return housevis.element("p", { class: "note" }, ...words);
};
