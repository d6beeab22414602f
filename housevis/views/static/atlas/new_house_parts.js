"use strict";

/* The card of a house that is not among the sold ones: the form, and the answer. */

/* A number that has to be given, or said to be not known. */
housevis.askedField = function (field) {
  const element = housevis.element;
  const unit = field.unit === "m2" ? housevis.houses.squareMetres : 1;
  const isYear = /(^|_)(year|yr)(_|$)/.test(field.name);
  const words = (value) => {
    const shown = Math.round((100 * value) / unit) / 100;
    return isYear ? String(shown) : shown.toLocaleString("en-US");
  };
  const input = element("input", {
    type: "number", step: "any", name: field.name, required: true, autocomplete: "off", "aria-describedby": `range-${field.name}`,
  });
  const unknown = element("input", {
    type: "checkbox", onchange: function () { input.disabled = unknown.checked; input.required = !unknown.checked; },
  });
  const name = field.unit === "m2" ? `${field.label}, ${housevis.areaUnitWords()}` : field.label;
  const line = element("div", { class: "asked" },
    element("label", {}, element("span", {}, name), input),
    element("label", { class: "check" }, unknown,
      element("span", {}, "not known", element("span", { class: "unseen" }, `: ${field.label}`))),
    element("small", { id: `range-${field.name}` }, `sold houses: ${words(field.lowest)} to ${words(field.highest)}`));
  return { line: line, read: () => [field.name, unknown.checked ? null : Number(input.value) * unit] };
};

/* Every attribute that the model needs is asked for; what is not known has to be said. */
housevis.newHouseForm = function (question, fields, body) {
  const element = housevis.element;
  const inputs = fields.map(housevis.askedField);
  const today = new Date();
  const day = element("input", {
    type: "date", name: "valuation_date", required: true, min: "1900-01-01", max: "2100-12-31",
    value: [today.getFullYear(), today.getMonth() + 1, today.getDate()].map((part) => String(part).padStart(2, "0")).join("-"),
  });
  const problem = element("div", { hidden: true });
  const send = element("button", { type: "submit", class: "action" }, "Estimate");
  const waiting = element("p", { class: "unseen", role: "status" });
  const form = element("form", {
    onsubmit: function (event) {
      event.preventDefault();
      if (send.disabled) return;
      send.disabled = true;
      send.textContent = waiting.textContent = "Estimating…";
      form.setAttribute("aria-busy", "true");
      problem.hidden = true;
      const attributes = Object.fromEntries(inputs.map((each) => each.read()));
      housevis.askServer("estimate", { ...question, valuation_date: day.value, attributes: attributes }).then(
        (answer) => housevis.showAnswer(answer, body, form),
        function (refused) {
          problem.replaceChildren(housevis.refusal(refused));
          problem.hidden = false;
          problem.scrollIntoView({ block: "nearest" });
        }).finally(function () {
        send.disabled = false;
        send.textContent = "Estimate";
        waiting.textContent = "";
        form.removeAttribute("aria-busy");
      });
    },
  }, element("p", { class: "note" }, "Nothing is filled in for you. What is not known makes the estimate less sure."),
  inputs.map((each) => each.line),
  element("div", { class: "asked" }, element("label", {}, element("span", {}, "Valued as of"), day)),
  problem, send, waiting);
  return form;
};

/* A driver or an attribute in words. */
housevis.attributeWords = function (name) {
  const field = (housevis.server.attributes || []).find((each) => each.name === name);
  const words = field ? field.label : name.replace(/_m2$/, "").replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
};

/* Drivers of one label added up, the largest first, as [label, amount]. */
housevis.answeredDrivers = function (answer) {
  const amounts = new Map();
  for (const { label, amount } of answer.drivers) amounts.set(label, (amounts.get(label) || 0) + amount);
  return [...amounts].sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
};

/* The address of the card of a sold house: that of its last sale, which is the one on the map. */
housevis.saleAddress = function (house, day) {
  const row = housevis.houses.house.indexOf(house);
  return `#sale=${encodeURIComponent(row < 0 ? `${house}@${day}` : housevis.saleId(row))}`;
};

housevis.answeredComparables = function (answer) {
  const element = housevis.element;
  if (!answer.comparables.length) return null;
  return element("section", {}, element("h3", {}, "Sales that support it"),
    element("ol", { class: "sales" }, answer.comparables.map((sale) => element("li", {},
      element("a", { href: housevis.saleAddress(sale.house_id, sale.sale_date) }, "House ", element("bdi", {}, sale.house_id)),
      element("span", { class: "sale-price" }, housevis.money(sale.price)),
      element("small", {}, `sold ${housevis.date(Date.parse(sale.sale_date) / 86400000)}, ${housevis.distance(sale.metres)} away; `
        + `${housevis.rounded(sale.adjusted_price)} at the prices of the valuation date`),
      element("small", {}, sale.why)))));
};

housevis.newHouseAnswer = function (answer) {
  const element = housevis.element;
  const drivers = housevis.answeredDrivers(answer);
  const beyond = Object.keys(answer.outside_training).map(housevis.attributeWords);
  const unknown = answer.unknown.map(housevis.attributeWords);
  const notes = answer.notes.filter((words) => !words.includes("not an appraisal")).concat(
    beyond.length ? [`Beyond all sales that the model learned from: ${beyond.join(", ")}. It counts about as the nearest of them.`] : [],
    unknown.length && !answer.confidence ? [`Not known: ${unknown.join(", ")}.`] : []);
  const lender = answer.explained_by;
  return [
    element("section", { class: "card-price", "aria-label": "Estimate" },
      element("dl", { class: "amounts amounts-one" }, element("div", {}, element("dt", {}, "Estimate"),
        element("dd", {}, housevis.fourDigits(answer.estimate)),
        element("dd", { class: "small" }, `as of ${housevis.date(Date.parse(answer.valuation_date) / 86400000)}`))),
      housevis.rangeTrack(answer.low, answer.high, answer.estimate),
      housevis.rangeWords(answer.low, answer.high, answer.interval),
      housevis.confidenceWords(answer.confidence, answer.confidence_reasons),
      notes.map((words) => element("p", { class: "note" }, words))),
    housevis.houses.pictures ? housevis.pictureSection() : null,
    element("section", { class: "card-drivers" }, element("h3", {}, "What the estimate rests on"),
      housevis.driverBars(drivers, Math.max(1, ...drivers.map((driver) => Math.abs(driver[1])))),
      element("p", { class: "note" },
        `From a base of ${housevis.fourDigits(answer.base)} the bars add up to the estimate`
        + `${answer.used_picture ? `; without the picture it is ${housevis.fourDigits(answer.without_picture)}` : ""}. `
        + "They show association, not cause.")),
    lender ? element("section", {}, element("h3", {}, "Explained by"), element("p", { class: "note" },
      element("a", { href: housevis.saleAddress(lender, "") }, "House ", element("bdi", {}, lender)),
      ", the most similar house in the grad-weight database. Its weights, learned in training, coloured this picture.")) : null,
    housevis.answeredComparables(answer),
  ].filter(Boolean);
};
