"use strict";

/* Search, colours, legend, price filter and the switch of the ground. */

housevis.startControls = function () {
  const byId = (name) => document.getElementById(name);
  const options = byId("options");
  const more = byId("more");
  const setOpen = function (open) {
    options.hidden = !open;
    more.setAttribute("aria-expanded", String(open));
  };
  setOpen(window.innerWidth > 900);
  more.addEventListener("click", () => setOpen(options.hidden));

  for (const choice of document.querySelectorAll("input[name=colour]")) {
    choice.checked = choice.value === housevis.state.colourBy;
    choice.addEventListener("change", function () {
      housevis.state.colourBy = choice.value;
      housevis.drawLegend();
      housevis.repaint();
    });
  }

  const count = function (shown) {
    const all = housevis.houses.price.length;
    const text = shown === all ? `${all.toLocaleString("en-US")} sales shown`
      : `${shown.toLocaleString("en-US")} of ${all.toLocaleString("en-US")} sales shown`;
    byId("shown").textContent = text;
  };
  const amount = function (field) {
    const text = field.value.replace(/[^0-9.]/g, "");
    return text === "" ? null : Number(text);
  };
  let pending = null;
  for (const name of ["price-from", "price-to"]) {
    byId(name).value = "";
    byId(name).addEventListener("input", function () {
      clearTimeout(pending);
      pending = setTimeout(function () {
        housevis.state.from = amount(byId("price-from"));
        housevis.state.to = amount(byId("price-to"));
        count(housevis.refill());
      }, 250);
    });
  }
  if (housevis.houses.pictures) {
    const base = byId("base");
    base.checked = housevis.state.base = housevis.houses.pictures.baseMap;
    base.addEventListener("change", function () {
      housevis.state.base = base.checked;
      housevis.drawGround();
    });
  }

  housevis.startSearch(byId("search"), byId("found"));
  housevis.drawLegend();
  housevis.drawGround();
  count(housevis.houses.price.length);
};

housevis.drawLegend = function () {
  const byPrice = housevis.state.colourBy === "price";
  const limits = byPrice ? housevis.houses.priceLimits.map(housevis.shortNumber)
    : housevis.errorLimits.map((limit) => housevis.signedPercent(limit));
  const colours = housevis.colours();
  const heading = byPrice ? `Sale price, ${housevis.houses.currency}` : "Estimate compared with the sale price";
  const segments = colours.map((colour) => housevis.element("i", { style: { background: colour } }));
  const marks = limits.map((text, index) =>
    housevis.element("span", { style: { left: `${(100 * (index + 1)) / colours.length}%` } }, text));
  const ends = byPrice ? null : housevis.element("div", { class: "legend-ends" },
    housevis.element("span", {}, "estimate too low"), housevis.element("span", {}, "too high"));
  document.getElementById("legend").replaceChildren(
    housevis.element("p", {}, heading),
    housevis.element("div", { class: "legend-bar", "aria-hidden": "true" }, segments),
    housevis.element("div", { class: "legend-marks" }, marks),
    ...(ends ? [ends] : []));
};

housevis.startSearch = function (field, list) {
  const names = housevis.houses.house.map((house, row) =>
    `${house} ${housevis.houses.address ? housevis.houses.address[row] || "" : ""}`.toLowerCase());
  const find = function (text) {
    const first = [];
    const rest = [];
    for (let row = 0; row < names.length && first.length < 8; row += 1) {
      const at = names[row].indexOf(text);
      if (at === 0) first.push(row);
      else if (at > 0 && rest.length < 8) rest.push(row);
    }
    return first.concat(rest).slice(0, 8);
  };
  const hide = function () { list.hidden = true; };
  const choose = function (row) {
    hide();
    housevis.open(row);
  };
  const show = function () {
    const text = field.value.trim().toLowerCase();
    if (!text) return hide();
    const rows = find(text);
    const entries = rows.map((row) => housevis.element("li", {},
      housevis.element("button", { type: "button", onclick: () => choose(row) },
        housevis.element("b", {}, housevis.houses.house[row]),
        housevis.houses.address && housevis.houses.address[row] ? ` ${housevis.houses.address[row]}` : null,
        housevis.element("small", {},
          `${housevis.money(housevis.houses.price[row])} · ${housevis.date(housevis.houses.day[row])}`))));
    list.replaceChildren(...(entries.length ? entries
      : [housevis.element("li", { class: "none" }, "No house has this in its id or address.")]));
    list.hidden = false;
  };
  field.value = "";
  field.addEventListener("input", show);
  field.addEventListener("focus", show);
  field.addEventListener("keydown", function (event) {
    if (event.key === "Escape") hide();
    if (event.key === "ArrowDown" && !list.hidden && list.querySelector("button")) {
      event.preventDefault();
      list.querySelector("button").focus();
    }
    if (event.key === "Enter" && field.value.trim()) {
      const rows = find(field.value.trim().toLowerCase());
      if (rows.length) choose(rows[0]);
    }
  });
  list.addEventListener("keydown", function (event) {
    const entry = event.target.closest("li");
    const next = event.key === "ArrowDown" ? entry.nextElementSibling
      : event.key === "ArrowUp" ? entry.previousElementSibling : null;
    if (event.key === "Escape") { hide(); field.focus(); }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    (next ? next.querySelector("button") : field).focus();
  });
  document.addEventListener("pointerdown", function (event) {
    if (!event.target.closest(".search")) hide();
  });
};
