"use strict";

/* Filters: price, bedrooms, date of sale, confidence. */

housevis.filters = { from: null, to: null, bedrooms: null, since: null, until: null, grades: null };

housevis.passes = function (row) {
  const { price, day, bedrooms, confidence } = housevis.houses;
  const filters = housevis.filters;
  return (filters.from === null || price[row] >= filters.from)
    && (filters.to === null || price[row] <= filters.to)
    && (filters.since === null || day[row] >= filters.since)
    && (filters.until === null || day[row] <= filters.until)
    && (filters.bedrooms === null || (bedrooms[row] !== null && bedrooms[row] >= filters.bedrooms))
    && (filters.grades === null || filters.grades.has(confidence[row]));
};

/* Note which houses pass; how many they are. */
housevis.sift = function () {
  housevis.kept = Uint8Array.from(housevis.houses.price, (_, row) => (housevis.passes(row) ? 1 : 0));
  return housevis.kept.reduce((sum, one) => sum + one, 0);
};

housevis.startFilters = function () {
  const byId = (name) => document.getElementById(name);
  const { houses, filters } = housevis;
  const fields = ["price-from", "price-to", "bedrooms", "sold-from", "sold-to"].map(byId);
  const grades = [...document.querySelectorAll("input[name=grade]")];
  const isoDay = (day) => new Date(day * 86400000).toISOString().slice(0, 10);
  const amount = function (field) {
    const text = field.value.replace(/[^0-9.]/g, "");
    return text === "" || Number.isNaN(Number(text)) ? null : Number(text);
  };
  const dayOf = (field) => (field.value === "" ? null : Math.floor(Date.parse(`${field.value}T00:00:00Z`) / 86400000));
  const read = function () {
    filters.from = amount(byId("price-from"));
    filters.to = amount(byId("price-to"));
    filters.since = dayOf(byId("sold-from"));
    filters.until = dayOf(byId("sold-to"));
    filters.bedrooms = houses.bedrooms && byId("bedrooms").value !== "" ? Number(byId("bedrooms").value) : null;
    const chosen = grades.filter((grade) => grade.checked).map((grade) => Number(grade.value));
    filters.grades = houses.confidence && chosen.length < grades.length ? new Set(chosen) : null;
  };
  const say = function (shown) {
    const all = houses.price.length;
    byId("shown").textContent = shown === all ? `${all.toLocaleString("en-US")} sales shown`
      : `${shown.toLocaleString("en-US")} of ${all.toLocaleString("en-US")} sales shown`;
    byId("reset").hidden = shown === all;
    byId("nothing").hidden = shown > 0;
  };
  const apply = function () {
    read();
    const shown = housevis.refill();
    if (!houses.view) say(shown);
  };
  let pending = null;
  const soon = function () {
    clearTimeout(pending);
    pending = setTimeout(apply, 250);
  };
  const clear = function () {
    for (const field of fields) field.value = "";
    for (const grade of grades) grade.checked = true;
  };
  const reset = function () {
    clear();
    apply();
    byId("price-from").focus();
  };
  clear();
  let [first, last] = houses.view ? houses.view.sold : [houses.day[0], houses.day[0]];
  for (const day of houses.day) {
    first = Math.min(first, day);
    last = Math.max(last, day);
  }
  for (const name of ["sold-from", "sold-to"]) {
    byId(name).min = isoDay(first);
    byId(name).max = isoDay(last);
  }
  for (const field of fields) field.addEventListener("input", soon);
  for (const grade of grades) grade.addEventListener("change", soon);
  byId("reset").addEventListener("click", reset);
  byId("reset-empty").addEventListener("click", reset);
  byId("bedrooms-filter").hidden = !houses.bedrooms;
  byId("confidence-filter").hidden = !houses.confidence;
  if (!houses.view) say(houses.price.length);
};
