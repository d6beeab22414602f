"use strict";

/* The page of one house: which house, loading and failing in words, its parts, link and print. */
housevis.sayInstead = function (heading, ...parts) {
  const main = document.getElementById("house");
  document.getElementById("actions").hidden = true;
  document.title = heading;
  main.setAttribute("aria-busy", "false");
  main.replaceChildren(housevis.element("div", { class: "state", role: "status" },
    housevis.element("h1", {}, heading), ...parts));
};

housevis.findForm = function () {
  const field = housevis.element("input", { id: "house-id", autocomplete: "off", spellcheck: "false" });
  return housevis.element("form", { class: "find", onsubmit: function (event) {
    event.preventDefault();
    if (field.value.trim()) window.location.hash = housevis.houseLink(field.value.trim());
  } }, housevis.element("label", { for: "house-id" }, "House id"), field,
  housevis.element("button", { type: "submit" }, "Show"));
};

housevis.toTheMap = function () {
  return housevis.element("p", {}, "Or choose one on ", housevis.element("a", { href: "index.html" }, "the map"), ".");
};

housevis.houseParts = function (house) {
  const [latitude, longitude] = house.place.map(housevis.degrees);
  return [
    housevis.element("header", { class: "head" },
      housevis.element("h1", { id: "name", tabindex: "-1" }, housevis.houseName(house)),
      housevis.element("p", {}, house.address ? ["House ", housevis.element("bdi", {}, house.house_id), " · "] : null,
        `latitude ${latitude}, longitude ${longitude}`.replace(/^l/, house.address ? "l" : "L"))),
    housevis.columnsOf(house),
    housevis.comparableSection(house),
  ];
};

housevis.showHouse = function (again) {
  if (!housevis.houses) {
    housevis.sayInstead("The houses could not be read", housevis.element("p", {}, "The file houses/run.js beside this page could not be read. "
      + "Copy the whole folder of the map, or build it again with ", housevis.element("code", {}, "housevis atlas"), "."));
    return;
  }
  const wanted = housevis.wantedHouse();
  if (wanted === null) {
    housevis.sayInstead("No house is chosen", housevis.findForm(), housevis.toTheMap());
    return;
  }
  const main = document.getElementById("house");
  main.setAttribute("aria-busy", "true");
  document.getElementById("shared").textContent = "";
  housevis.house(wanted).then(function (house) {
    if (housevis.wantedHouse() !== wanted) return;
    if (!house) {
      housevis.sayInstead("There is no such house",
        housevis.element("p", {}, "This run shows no house with the id ", housevis.element("bdi", {}, `“${wanted}”`), ". It may have been removed."),
        housevis.findForm(), housevis.toTheMap());
      return;
    }
    main.replaceChildren(...housevis.houseParts(house));
    housevis.arrange();
    document.querySelector(".back").href = `index.html#sale=${encodeURIComponent(`${house.house_id}@${house.sale_date}`)}`;
    main.setAttribute("aria-busy", "false");
    document.getElementById("actions").hidden = false;
    const name = house.address ? housevis.isolated(house.address) : `House ${housevis.isolated(house.house_id)}`;
    document.title = `${name}: ${housevis.fourDigits(house.estimate)}`;
    window.scrollTo(0, 0);
    if (again) document.getElementById("name").focus({ preventScroll: true });
  }, function (problem) {
    if (housevis.wantedHouse() === wanted) {
      housevis.sayInstead("This house could not be read", housevis.element("p", {}, problem.message), housevis.toTheMap());
    }
  });
};

housevis.copyLink = function () {
  const told = document.getElementById("shared");
  const only = window.location.protocol === "file:" ? " It opens on this machine only." : "";
  const copied = window.navigator.clipboard ? window.navigator.clipboard.writeText(window.location.href)
    : Promise.reject(new Error("no clipboard"));
  copied.then(function () {
    told.textContent = `Copied.${only}`;
  }, function () {
    const field = housevis.element("input", { readonly: true, value: window.location.href, "aria-label": "Link to this house" });
    told.replaceChildren(field);
    field.select();
  });
};

document.getElementById("copy").addEventListener("click", housevis.copyLink);
document.getElementById("print").addEventListener("click", () => window.print());
document.querySelector("[data-skip]").addEventListener("click", function (event) {
  event.preventDefault();
  document.getElementById("house").focus();
});
window.addEventListener("hashchange", () => housevis.showHouse(true));
housevis.showHouse(false);
