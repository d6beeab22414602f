"use strict";

/* The parts of the page in two columns that end together, or below each other where the page is narrow. */
housevis.wide = window.matchMedia("(min-width: 901px)");

/* Parts in the order of a narrow page; `column` is where a part belongs, null where it goes wherever there is room. */
housevis.columnsOf = function (house) {
  const picture = housevis.pictureSection(house);
  housevis.parts = [
    { element: housevis.answerSection(house), column: 0 },
    { element: picture, column: 1 },
    { element: housevis.driverSection(house), column: picture ? 0 : 1 },
    { element: housevis.explainedSection(house), column: 1 },
    { element: housevis.groundSection(house), column: null },
    { element: housevis.section("What the listing says", "listing", housevis.factsList(house)), column: null },
    { element: housevis.whatIfSection(house), column: null, onScreen: true },
  ].filter((part) => part.element);
  return housevis.element("div", { class: "columns" });
};

/* The column of every part, so that the longer of both is as short as it can be. */
housevis.balanced = function (parts) {
  const free = parts.filter((part) => part.column === null);
  let best = null;
  for (let choice = 0; choice < 2 ** free.length; choice += 1) {
    const chosen = parts.map((part) => (part.column === null ? (choice >> free.indexOf(part)) & 1 : part.column));
    const heights = [0, 0];
    parts.forEach((part, number) => { heights[chosen[number]] += part.height; });
    if (!best || Math.max(...heights) < best.height) best = { height: Math.max(...heights), columns: chosen };
  }
  return best.columns;
};

/* Pixels of an A4 page between its margins, as house.css shrinks it. */
housevis.PAPER = 976;

/* Put the parts where they belong. Paper has two columns, and what is not printed counts for nothing there. */
housevis.arrange = function () {
  const printed = housevis.printing;
  const holder = document.querySelector(".columns");
  if (!holder) return;
  const { parts } = housevis;
  const column = () => housevis.element("div", { class: "column" });
  const focused = document.activeElement;
  if (!housevis.wide.matches && !printed) {
    holder.replaceChildren(column());
    holder.firstChild.append(...parts.map((part) => part.element));
  } else {
    const columns = [column(), column()];
    holder.replaceChildren(...columns);
    holder.classList.remove("even");
    holder.style.width = printed ? `${housevis.PAPER}px` : "";
    for (const part of parts) columns[part.column || 0].append(part.element);
    for (const part of parts) part.height = printed && part.onScreen ? 0 : part.element.offsetHeight + 16;
    housevis.balanced(parts).forEach((chosen, number) => columns[chosen].append(parts[number].element));
    holder.style.width = "";
    holder.classList.add("even");
  }
  if (focused && holder.contains(focused)) focused.focus({ preventScroll: true });
};

housevis.wide.addEventListener("change", housevis.arrange);
for (const [event, printing] of [["beforeprint", true], ["afterprint", false]]) {
  window.addEventListener(event, function () {
    housevis.printing = printing;
    housevis.arrange();
  });
}
