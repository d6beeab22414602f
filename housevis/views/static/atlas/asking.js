"use strict";

/* Questions to a server that has too many houses for one table, and what it says of them as rows of the page. */

housevis.rowOf = new Map();
housevis.content = null;

/* Ask the API; a refusal is an error with the words of the server and `wait`, the seconds after which to ask again. */
housevis.getFromServer = async function (path, parameters, signal) {
  let response;
  try {
    response = await window.fetch(`${housevis.server.api}${path}?${new URLSearchParams(parameters)}`, { signal: signal });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw Object.assign(new Error("The server does not answer."), { wait: 10 });
  }
  const answer = await response.json().catch((problem) => {
    if (problem.name === "AbortError") throw problem;
    return {};
  });
  if (response.ok) return answer;
  const words = typeof answer.detail === "string" ? answer.detail : "The server refused this question.";
  const wait = [429, 503].includes(response.status) ? Number(response.headers.get("retry-after")) || 5 : null;
  throw Object.assign(new Error(words), { wait: wait, signIn: response.status === 401 });
};

/* Take houses of an answer into the page's columns; returns their rows. Once the map was built anew or houses were
   removed, nothing that the page knows may be relied on: it is loaded again. */
housevis.learn = function (answer) {
  if (housevis.content && housevis.content !== answer.content) window.location.reload();
  housevis.content = answer.content;
  const { houses } = housevis;
  return answer.houses.map(function (each) {
    const row = housevis.rowOf.has(each.house_id) ? housevis.rowOf.get(each.house_id) : houses.house.length;
    housevis.rowOf.set(each.house_id, row);
    const grade = houses.grades.indexOf(each.confidence);
    const facts = {
      house: each.house_id, latitude: each.latitude, longitude: each.longitude, price: each.price,
      estimate: each.estimate, day: Date.parse(each.sale_date) / 86400000, bedrooms: each.bedrooms,
      effect: each.effect, confidence: grade < 0 ? null : grade, address: each.address,
      sample: String(houses.samples.indexOf(each.sample)), mapRow: each.map_row,
    };
    for (const [name, value] of Object.entries(facts)) if (houses[name]) houses[name][row] = value;
    if (row === housevis.markers.length) housevis.markers.push(housevis.markerOf(row));
    return row;
  });
};

/* The row of a house by its id; null where there is none. */
housevis.rowOfHouse = async function (house) {
  if (housevis.rowOf.has(house)) return housevis.rowOf.get(house);
  housevis.learn(await housevis.getFromServer("search", { text: house }));
  housevis.classify();
  return housevis.rowOf.has(house) ? housevis.rowOf.get(house) : null;
};

/* The filters as parameters of the API; null where no house can pass them. */
housevis.filterParameters = function () {
  const { from, to, bedrooms, since, until, grades } = housevis.filters;
  if (grades && !grades.size) return null;
  const day = (number) => (number === null ? null : new Date(number * 86400000).toISOString().slice(0, 10));
  const amount = (number) => (number === null ? null : Math.min(number, 1e12));
  const given = [
    ["price_from", amount(from)], ["price_to", amount(to)], ["bedrooms_from", bedrooms],
    ["sold_from", day(since)], ["sold_to", day(until)],
  ].filter(([, value]) => value !== null);
  for (const grade of grades || []) given.push(["confidence", housevis.houses.grades[grade]]);
  return given;
};

/* What takes the place of the functions that look through the table of all houses. */
housevis.fromServer = {
  find: async function (text) {
    const rows = housevis.learn(await housevis.newest("find", "search", { text: text }));
    housevis.classify();
    return rows;
  },

  nearest: async function (place, count) {
    const rows = housevis.learn(await housevis.newest("find", "search", { near: place.join(",") }));
    housevis.classify();
    return rows.slice(0, count).map((row) => [row, housevis.metresTo(place, row)]);
  },

  /* The row of the house whose weights explain another is another one here, if it is known at all. */
  detail: async function (row) {
    const detail = await housevis.fromChunk("details", row);
    let lender = null;
    if (detail.neighbour && housevis.state.selected === row) {
      lender = await housevis.rowOfHouse(detail.neighbour).catch(() => null);
    }
    return { ...detail, neighbourRow: lender };
  },
};

/* One question of a kind at a time: a newer one ends the one before. */
housevis.underWay = new Map();
housevis.newest = function (kind, path, parameters) {
  housevis.leave(kind);
  const control = new AbortController();
  housevis.underWay.set(kind, control);
  return housevis.getFromServer(path, parameters, control.signal).finally(function () {
    if (housevis.underWay.get(kind) === control) housevis.underWay.delete(kind);
  });
};

/* What is under way of a kind is no longer wanted. */
housevis.leave = function (kind) {
  if (housevis.underWay.has(kind)) housevis.underWay.get(kind).abort();
  housevis.underWay.delete(kind);
};

/* Open a house that the page may not know yet. */
housevis.showAsked = async function (house) {
  const { hash } = window.location;
  let row = null;
  let words = "This house is not among the sold houses of this run.";
  try {
    row = await housevis.rowOfHouse(house);
  } catch (problem) {
    words = problem.signIn ? "Your session has ended: load the page again to sign in." : problem.message;
  }
  if (window.location.hash !== hash) return undefined;
  if (row !== null) return housevis.show(row);
  housevis.close();
  housevis.openCard(housevis.named(house), "", housevis.element("p", { class: "problem", role: "alert" }, words))
    .focus({ preventScroll: true });
  return undefined;
};
