"use strict";

/* Search by house id, by address where addresses were supplied, and by coordinates. */

/* "47.61, -122.33", "47.61 N 122.33 W": latitude and longitude, or null. */
housevis.coordinates = function (text) {
  const match = /^\s*([+\-−]?\d{1,2}(?:\.\d+)?)\s*°?\s*([ns])?\s*[,;\s]\s*([+\-−]?\d{1,3}(?:\.\d+)?)\s*°?\s*([ew])?\s*$/i
    .exec(text);
  if (!match) return null;
  const number = (digits, letter, negative) =>
    Number(digits.replace("−", "-")) * (letter && letter.toLowerCase() === negative ? -1 : 1);
  const latitude = number(match[1], match[2], "s");
  const longitude = number(match[3], match[4], "w");
  return Math.abs(latitude) <= 85 && Math.abs(longitude) <= 180 ? [latitude, longitude] : null;
};

/* The sold houses nearest to a place: pairs of row and metres, the nearest first. */
housevis.nearest = function (place, count) {
  const found = housevis.houses.price.map((_, row) => [row, housevis.metresTo(place, row)]);
  return found.sort((one, other) => one[1] - other[1]).slice(0, count);
};

/* Go to a place that need not be a house, and mark it. */
housevis.goTo = function (place) {
  housevis.close();
  if (housevis.placeMark) housevis.placeMark.remove();
  housevis.placeMark = L.circleMarker(place, {
    pane: "picture", className: "map-spot", radius: 9, interactive: false,
  }).addTo(housevis.map);
  housevis.map.setView(place, 17, { animate: false });
};

housevis.MOST_FOUND = 8;

/* The sales with a text in their id or address, those that begin with it first. */
housevis.find = function (text) {
  const { house, address } = housevis.houses;
  const most = housevis.MOST_FOUND;
  housevis.names = housevis.names
    || house.map((name, row) => `${name} ${address ? address[row] || "" : ""}`.toLowerCase());
  const first = [];
  const rest = [];
  for (let row = 0; row < housevis.names.length && first.length < most; row += 1) {
    const at = housevis.names[row].indexOf(text);
    if (at === 0) first.push(row);
    else if (at > 0 && rest.length < most) rest.push(row);
  }
  return first.concat(rest).slice(0, most);
};

housevis.startSearch = function (field, list) {
  const { houses } = housevis;
  const kinds = houses.address ? "Id, address or coordinates" : "Id or coordinates";
  field.placeholder = kinds;
  document.querySelector("label[for=search]").textContent = `Search by ${kinds.toLowerCase()}`;
  let asked = null;
  const hide = function () {
    asked = null;
    list.hidden = true;
  };
  const choose = function (row) {
    hide();
    housevis.open(row);
  };
  const entry = (action, ...words) => housevis.element("li", {},
    housevis.element("button", { type: "button", onclick: action }, ...words));
  const houseEntry = (row, more) => entry(() => choose(row),
    housevis.element("b", {}, housevis.given(houses.house[row])),
    ...(houses.address && houses.address[row] ? [" ", housevis.given(houses.address[row])] : []),
    housevis.element("small", {}, `${more || ""}${housevis.money(houses.price[row])} · ${housevis.date(houses.day[row])}`));
  const go = function (place) {
    hide();
    housevis.goTo(place);
  };
  const entries = async function (text) {
    const place = housevis.coordinates(text);
    if (place) {
      return [
        entry(() => go(place), housevis.element("b", {}, "Go to this place"),
          housevis.element("small", {}, `latitude ${place[0]}, longitude ${place[1]}`)),
        housevis.server ? entry(() => { hide(); housevis.goTo(place); housevis.newHouse(place); },
          housevis.element("b", {}, "Estimate a house here")) : null,
        ...(await housevis.nearest(place, 4)).map(([row, metres]) => houseEntry(row, `${housevis.distance(metres)} away · `)),
      ].filter(Boolean);
    }
    return (await housevis.find(text)).map((row) => houseEntry(row));
  };
  const show = async function () {
    const text = field.value.trim().toLowerCase();
    if (!text) return hide();
    asked = text;
    const found = await entries(text).catch((problem) => [
      housevis.element("li", { class: "none" }, problem.message)]);
    if (asked !== text) return undefined;
    document.getElementById("found-count").textContent = `${found.length || "No"} result${found.length === 1 ? "" : "s"}`;
    list.replaceChildren(...(found.length ? found : [housevis.element("li", { class: "none" },
      houses.address ? "No house has this in its id or address. " : "No house has this in its id; no addresses were supplied. ",
      "A place is found by its coordinates, as in 47.61, −122.33.")]));
    list.hidden = false;
    return list.querySelector("button");
  };
  field.value = "";
  field.disabled = false;
  field.addEventListener("input", show);
  field.addEventListener("focus", show);
  field.addEventListener("keydown", function (event) {
    if (event.key === "Escape") hide();
    if (event.key === "ArrowDown" && !list.hidden && list.querySelector("button")) {
      event.preventDefault();
      list.querySelector("button").focus();
    }
    if (event.key === "Enter") show().then((best) => best && best.click());
  });
  list.addEventListener("keydown", function (event) {
    const item = event.target.closest("li");
    const next = event.key === "ArrowDown" ? item.nextElementSibling
      : event.key === "ArrowUp" ? item.previousElementSibling : null;
    if (event.key === "Escape") { event.stopPropagation(); hide(); field.focus(); }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    (next ? next.querySelector("button") : field).focus();
  });
  document.addEventListener("pointerdown", function (event) {
    if (!event.target.closest(".search")) hide();
  });
};
