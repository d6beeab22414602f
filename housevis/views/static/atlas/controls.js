"use strict";

/* The panel beside the map: opening it on a narrow screen, and starting its parts. */

housevis.startControls = function () {
  const options = document.getElementById("options");
  const more = document.getElementById("more");
  const setOpen = function (open) {
    options.hidden = !open;
    more.setAttribute("aria-expanded", String(open));
  };
  setOpen(window.innerWidth > 900);
  more.addEventListener("click", () => setOpen(options.hidden));
  options.addEventListener("keydown", function (event) {
    if (event.key !== "Escape" || window.innerWidth > 900) return;
    setOpen(false);
    more.focus();
  });
  housevis.startColours();
  housevis.startFilters();
  housevis.startLayers();
  housevis.startSearch(document.getElementById("search"), document.getElementById("found"));
};
