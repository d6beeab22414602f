"use strict";

/* The sales that support an estimate: where they lie, and a table of them. */
housevis.locator = { width: 440, height: 300, disc: 11, foot: 22, least: 120 };

/* Discs pushed from each other and from the house until none covers another. */
housevis.apart = function (places, middle, room) {
  const { disc } = housevis.locator;
  const discs = places.map(([x, y], number) => [x + 0.001 * number, y - 0.001 * number]);
  for (let round = 0; round < 80; round += 1) {
    discs.forEach(function (one, number) {
      const others = discs.filter((_, other) => other !== number).concat([middle]);
      for (const other of others) {
        const away = [one[0] - other[0], one[1] - other[1]];
        const gap = Math.hypot(...away) || 0.001;
        const short = 2 * disc + 2 - gap;
        if (short > 0) {
          one[0] += (away[0] / gap) * short / 2;
          one[1] += (away[1] / gap) * short / 2;
        }
      }
      one[0] = Math.min(Math.max(one[0], disc + 3), room[0] - disc - 3);
      one[1] = Math.min(Math.max(one[1], disc + 3), room[1] - disc - 3);
    });
  }
  return discs;
};

housevis.locatorDrawing = function (house) {
  const { width, height, disc, foot, least } = housevis.locator;
  const draw = housevis.drawn;
  const places = house.comparables.map((each) => housevis.metresFrom(house.place, each.place));
  const distances = places.map((place) => Math.hypot(...place)).sort((one, other) => one - other);
  const reach = Math.max(Math.min(distances[distances.length - 1], 3 * distances[Math.floor(distances.length / 2)]), least);
  const near = places.map((place) => place.map((part) => part * Math.min(1, reach / Math.max(Math.hypot(...place), 1e-9))));
  const ends = [0, 1].map(function (axis) {
    const all = near.map((place) => place[axis]).concat(0);
    return [Math.min(...all), Math.max(...all)];
  });
  const room = [width, height - foot];
  const unit = Math.min(...ends.map(([low, high], axis) => (room[axis] - 4 * disc - 8) / Math.max(high - low, least)));
  const onPage = ([east, north]) => [
    room[0] / 2 + (east - (ends[0][0] + ends[0][1]) / 2) * unit,
    room[1] / 2 - (north - (ends[1][0] + ends[1][1]) / 2) * unit,
  ];
  const inside = ([x, y], edge) => x > edge && y > edge && x < room[0] - edge && y < room[1] - edge;
  const middle = onPage([0, 0]);
  const drawing = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "locator", role: "group",
    "aria-label": "Where the house and its comparables lie, north at the top" },
    draw("rect", { class: "ground-fill", x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8 }));
  for (const place of housevis.houses.around) {
    const spot = onPage(housevis.metresFrom(house.place, place));
    if (inside(spot, 5)) drawing.append(draw("circle", { class: "other", cx: spot[0].toFixed(1), cy: spot[1].toFixed(1), r: 1.7 }));
  }
  const spots = places.map(onPage);
  const shown = spots.map(([x, y]) => [
    Math.min(Math.max(x, disc + 3), room[0] - disc - 3), Math.min(Math.max(y, disc + 3), room[1] - disc - 3),
  ]);
  housevis.apart(shown, middle, room).forEach(function ([x, y], number) {
    const each = house.comparables[number];
    const [spotX, spotY] = shown[number];
    const beyond = Math.hypot(spotX - spots[number][0], spotY - spots[number][1]) > 1;
    if (!beyond && Math.hypot(x - spotX, y - spotY) > 2) {
      drawing.append(draw("path", { class: "leader", d: `M${spotX} ${spotY}L${x} ${y}` }),
        draw("circle", { class: "spot", cx: spotX, cy: spotY, r: 2.4 }));
    }
    drawing.append(draw("a", { href: housevis.houseLink(each.house_id), class: "numbered", "data-rank": each.rank,
      "aria-label": `Comparable ${each.rank}, ${housevis.distance(each.metres)} away` },
    draw("circle", { class: beyond ? "disc beyond" : "disc", cx: x, cy: y, r: disc }),
    draw("text", { x: x, y: y + 4.2, "text-anchor": "middle" }, String(each.rank))));
  });
  drawing.append(draw("path", { class: "home",
    d: `M${middle[0] - 9} ${middle[1] + 1}L${middle[0]} ${middle[1] - 8.5}L${middle[0] + 9} ${middle[1] + 1}V${middle[1] + 9}H${middle[0] - 9}z` }));
  const power = 10 ** Math.floor(Math.log10((0.3 * width) / unit));
  const bar = [5, 2, 1].map((step) => step * power).find((size) => size * unit <= 0.3 * width);
  drawing.append(draw("path", { class: "scale", d: `M14 ${height - 18}v5h${bar * unit}v-5` }),
    draw("text", { class: "soft", x: 20 + bar * unit, y: height - 12 }, bar < 1000 ? `${bar} m` : `${bar / 1000} km`),
    draw("path", { class: "scale", d: `M${width - 18} 28V12m-4 5l4-6 4 6` }),
    draw("text", { class: "soft", x: width - 18, y: 41, "text-anchor": "middle" }, "N"));
  return drawing;
};

housevis.comparableRow = function (each) {
  const change = housevis.signedPercent(each.adjusted_price / each.price - 1, 1);
  const cell = (label, ...parts) => housevis.element("td", { role: "cell", "data-label": label }, ...parts);
  const mark = (on) => () => {
    for (const disc of document.querySelectorAll(`.numbered[data-rank="${each.rank}"]`)) disc.classList.toggle("marked", on);
  };
  return housevis.element("tr", { role: "row", onmouseenter: mark(true), onmouseleave: mark(false), onfocusin: mark(true), onfocusout: mark(false) },
    cell("", housevis.element("span", { class: "rank" }, String(each.rank))),
    housevis.houses.pictures ? cell("", each.picture ? housevis.pictured(each.picture, "", null) : null) : null,
    housevis.element("th", { scope: "row", role: "rowheader" },
      housevis.element("a", { href: housevis.houseLink(each.house_id) }, housevis.houseName(each)),
      each.address ? housevis.element("small", {}, "House ", housevis.element("bdi", {}, each.house_id)) : null,
      housevis.element("small", {}, `sold ${housevis.dayWords(each.sale_date)}`, each.after ? housevis.element("em", {}, ", after") : null)),
    cell("Distance", housevis.distance(each.metres)),
    cell("Price", housevis.money(each.price)),
    cell("Adjusted", housevis.element("b", {}, housevis.fourDigits(each.adjusted_price)), housevis.element("small", {}, change)),
    cell("Why", each.why));
};

housevis.comparableSection = function (house) {
  const heading = "Sales that support this estimate";
  if (!house.comparables) {
    return housevis.section(heading, "comparables", housevis.note("This run keeps no comparable sales. ",
      housevis.element("code", {}, "housevis evaluate CONFIG"), " finds them; then build the pages again."));
  }
  if (!house.comparables.length) {
    return housevis.section(heading, "comparables", housevis.note("No comparable sale of this house is left in this run."));
  }
  const adjusted = house.comparables.map((each) => each.adjusted_price).sort((one, other) => one - other);
  const half = adjusted.length / 2;
  const middle = (adjusted[Math.ceil(half) - 1] + adjusted[Math.floor(half)]) / 2;
  const gap = house.estimate / middle - 1;
  const head = (words, unseen) => housevis.element("th", { scope: "col", role: "columnheader" },
    unseen ? housevis.element("span", { class: "unseen" }, words) : words);
  const after = house.comparables.some((each) => each.after);
  return housevis.section(heading, "comparables",
    housevis.element("div", { class: "where" },
      housevis.element("figure", {}, housevis.locatorDrawing(house),
        housevis.element("figcaption", { class: "note" }, "The house in orange, comparables by number, other sales as dots. A dashed ring lies farther out.")),
      housevis.element("div", {},
        housevis.element("p", {}, "The model itself treats these sales as the most alike of those it learned from. The middle of their adjusted prices is ",
          housevis.element("b", {}, housevis.fourDigits(middle)),
          `; the estimate is ${housevis.signedPercent(Math.abs(gap), 1).replace("+", "")} ${gap >= 0 ? "above" : "below"} it.`),
        housevis.note(housevis.houses.adjustment),
        after ? housevis.note("Sales marked “after” were made after the valuation date: nobody knew them on that day. "
          + "They are here because this sale is an earlier one of the run, judged in cross-fitting by sales of the same years.") : null)),
    housevis.element("table", { role: "table" },
      housevis.element("thead", { role: "rowgroup" }, housevis.element("tr", { role: "row" },
        head("Rank", true), housevis.houses.pictures ? head("Picture", true) : null, head("House"), head("Distance"),
        head("Price"), head("Adjusted"), head("Why it is comparable"))),
      housevis.element("tbody", { role: "rowgroup" }, house.comparables.map(housevis.comparableRow))));
};
