"use strict";

/* The picture of a house, what lies over it, who explains it, and what is under the heat. */
housevis.over = { kind: "value", opacity: 0.8 };

housevis.overlayWords = {
  value: "What each place adds to the estimate (orange) or takes off (blue).",
  attention: "Where the picture model looks to set this house above or below others. Bright places weigh most; "
    + "they do not say whether the price rises or falls.",
  none: "The picture alone.",
};

/* A picture with a map over it and a ring where the house stands. */
housevis.pictured = function (picture, words, canvas) {
  const frame = housevis.element("div", { class: "frame" },
    housevis.element("img", {
      src: picture.file, alt: words, class: "photo",
      onerror: () => frame.replaceChildren(housevis.element("p", { class: "empty" },
        `The picture ${picture.file} beside this page could not be read.`)),
    }));
  if (canvas) {
    canvas.classList.add("heat");
    canvas.style.opacity = String(housevis.over.opacity);
    frame.append(canvas);
  }
  frame.append(housevis.element("span", {
    class: "ring", "aria-hidden": "true",
    style: { left: `${picture.house[0] * 100}%`, top: `${picture.house[1] * 100}%` },
  }));
  return frame;
};

housevis.attentionCanvas = function (map) {
  return map && !map.note ? housevis.mapCanvas(map, "attention") : null;
};

housevis.legend = function (kind, map) {
  const [size, words] = housevis.groundUnit();
  const end = kind === "value" ? housevis.rounded((map.scale * size) / map.cell_square_metres) : "";
  const ends = kind === "value" ? [`−${end}`, `0, per ${words}`, `+${end}`] : ["no attention", "most"];
  return housevis.element("div", { class: "legend" }, housevis.legendCanvas(kind),
    housevis.element("p", {}, ends.map((text) => housevis.element("span", {}, text))));
};

housevis.pictureSection = function (house) {
  const run = housevis.houses;
  if (!run.pictures) return null;
  const heading = "The aerial picture";
  if (!house.picture) {
    return housevis.section(heading, "picture", housevis.element("div", { class: "frame" },
      housevis.element("p", { class: "empty" },
        "There is no imagery of this house. The estimate rests on its attributes alone.")));
  }
  const maps = { value: house.value_map, attention: house.attention, none: null };
  const can = (kind) => kind === "none" || Boolean(maps[kind] && !maps[kind].note);
  let kind = [housevis.over.kind, "value", "attention", "none"].find(can);
  const holder = housevis.element("div");
  const below = housevis.element("div", { class: "below" });
  const slider = housevis.element("input", {
    type: "range", id: "opacity", min: "0", max: "100", value: String(housevis.over.opacity * 100),
    "aria-label": "Opacity of the overlay",
    oninput: function () {
      housevis.over.opacity = Number(slider.value) / 100;
      for (const canvas of document.querySelectorAll(".heat")) canvas.style.opacity = String(housevis.over.opacity);
    },
  });
  const show = function () {
    const map = maps[kind];
    const canvas = map ? housevis.mapCanvas(map, kind) : null;
    const about = kind === "none" ? "" : `, ${kind === "value" ? "value map" : "attention map"} over it`;
    const words = `Aerial picture of the house, ${Math.round(house.picture.metres)} metres wide${about}`;
    holder.replaceChildren(housevis.pictured(house.picture, words, canvas));
    slider.disabled = kind === "none";
    below.replaceChildren(...[
      map ? housevis.legend(kind, map) : null,
      housevis.element("p", { role: "status" }, housevis.overlaySentence(house, kind)),
    ].filter(Boolean));
  };
  const choice = (name, words) => housevis.element("label", {},
    housevis.element("input", {
      type: "radio", name: "overlay", value: name, checked: name === kind, disabled: !can(name),
      onchange: function () {
        kind = housevis.over.kind = name;
        show();
      },
    }), housevis.element("span", {}, words));
  show();
  return housevis.section(heading, "picture", holder,
    housevis.element("div", { class: "overlay" },
      housevis.element("fieldset", { class: "switch" }, housevis.element("legend", { class: "unseen" }, "Overlay"),
        choice("value", "Value map"), choice("attention", "Attention"), choice("none", "None")),
      slider),
    below,
    ...["value", "attention"].filter((name) => maps[name] && maps[name].note)
      .map((name) => housevis.note(`${name === "value" ? "Value map" : "Attention"}: ${maps[name].note}`)),
    maps.attention || maps.value ? null : housevis.note("This house has no maps: it was not explained in this run."),
    housevis.note(...housevis.pictureWords(house.picture)));
};

housevis.overlaySentence = function (house, kind) {
  if (kind !== "value") return housevis.overlayWords[kind];
  const whole = house.drivers.filter((each) => each.name === "picture").reduce((sum, each) => sum + each.amount, 0);
  const around = house.surroundings
    ? `, of which ${housevis.signedMoney(house.surroundings)} is the neighbourhood's pictures` : "";
  const small = house.value_map.status === "negligible"
    ? " The amount is too small to matter; where it lies means little." : "";
  return `${housevis.overlayWords.value} ${housevis.signedMoney(whole)} in all${around}.${small}`;
};

housevis.pictureWords = function (picture) {
  const missing = picture.missing_tiles === 1 ? "1 missing tile is filled by reflection. "
    : picture.missing_tiles ? `${picture.missing_tiles} missing tiles are filled by reflection. ` : "";
  return [`${Math.round(picture.metres)} m wide; the house stands at the ring. ${missing}${picture.taken} `,
    housevis.given(housevis.credit(picture.attribution)), "."];
};

/* The training house whose grad-weights were borrowed, side by side (C Fig. 9). */
housevis.explainedSection = function (house) {
  const heading = "Explained by";
  const map = house.attention;
  if (!house.picture || !map || map.note) return null;
  const lender = house.explained_by;
  if (!lender) return housevis.section(heading, "explained", housevis.note("The house that lent its weights is no longer shown in this run."));
  if (lender.everyone) {
    return housevis.section(heading, "explained", housevis.element("p", {},
      "The attention map is global: every house of this run has the same weights, up to their sign, so no single "
      + "house explains another. It differs from house to house only because the pictures do."));
  }
  const name = housevis.element("a", { href: housevis.houseLink(lender.house_id) }, housevis.houseName(lender));
  const facts = lender.price === null ? "" : `, sold for ${housevis.money(lender.price)} on ${housevis.dayWords(lender.sale_date)}`;
  const pair = housevis.element("div", { class: "pair" },
    housevis.element("figure", {},
      housevis.pictured(house.picture, "This house with its attention map", housevis.attentionCanvas(map)),
      housevis.element("figcaption", {}, "This house")),
    lender.picture ? housevis.element("figure", {},
      housevis.pictured(lender.picture, "The house that lent its weights, with its own attention map", housevis.attentionCanvas(lender.attention)),
      housevis.element("figcaption", {}, name, facts)) : null);
  return housevis.section(heading, "explained", pair,
    lender.picture ? null : housevis.element("p", {}, name, facts, "; its picture is not among those of this run."),
    housevis.note("Of the houses that the picture model learned from, this one is the most alike to it. The weights "
      + "learned there coloured this house's attention map; one scale of colours for both."));
};

/* What is under the heat, by class of land cover. */
housevis.groundSection = function (house) {
  if (!house.picture) return null;
  const heading = "What is under the heat";
  const notes = housevis.houses.underNotes.map((words) => housevis.note(words));
  if (!house.under) return notes.length ? housevis.section(heading, "ground", ...notes) : null;
  const share = (part) => (part === null ? "–" : part < 0.005 ? "< 1 %" : `${Math.round(100 * part)} %`);
  const head = (words) => housevis.element("th", { scope: "col" }, words);
  const cell = (words) => housevis.element("td", {}, words);
  const rows = house.under.map((each) => housevis.element("tr", {},
    housevis.element("th", { scope: "row" }, each.cover), cell(share(each.area)), cell(share(each.attention)),
    cell(each.amount === null ? "–" : housevis.signedMoney(each.amount))));
  return housevis.section(heading, "ground",
    housevis.element("table", {},
      housevis.element("thead", {}, housevis.element("tr", {},
        head("On the ground"), head("Of the picture"), head("Of the attention"), head("Adds"))),
      housevis.element("tbody", {}, rows)), ...notes);
};
