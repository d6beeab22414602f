"use strict";

/* A house that is not among the sold ones: a form for a spot of the map, where a server can reckon its estimate. */

housevis.ASKED_ZOOM = 14;

/* Listen for a press on an empty spot; only a server reckons estimates, so without one nothing happens. */
housevis.startNewHouses = function () {
  if (!housevis.server) return;
  housevis.map.on("click", function (event) {
    if (housevis.map.getZoom() >= housevis.ASKED_ZOOM) housevis.newHouse([event.latlng.lat, event.latlng.lng]);
  });
};

/* Put a question to the server; its refusal is an error that keeps what the server said. */
housevis.askServer = function (path, question) {
  return window.fetch(`${housevis.server.api}${path}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
  }).then((response) => response.json().then(function (answer) {
    if (response.ok) return answer;
    const problem = new Error(typeof answer.detail === "string" ? answer.detail : "The server refused this question.");
    problem.answer = answer;
    throw problem;
  }), function () {
    throw new Error("The server does not answer.");
  });
};

/* Open the form of a spot; the server says which attributes its model needs. */
housevis.newHouse = function (place) {
  housevis.close();
  if (housevis.placeMark) housevis.placeMark.remove();
  housevis.placeMark = L.circleMarker(place, {
    pane: "picture", className: "map-spot", radius: 9, interactive: false,
  }).addTo(housevis.map);
  const element = housevis.element;
  const card = document.getElementById("card");
  const body = element("div", {}, element("p", {}, "Asking the server…"));
  card.replaceChildren(
    element("header", { class: "card-head" },
      element("div", {}, element("h2", {}, "Estimate a house here"),
        element("p", {}, `latitude ${place[0].toFixed(5)}, longitude ${place[1].toFixed(5)}`)),
      housevis.closeButton()), body);
  card.hidden = false;
  document.body.classList.add("has-card");
  card.focus({ preventScroll: true });
  const question = { latitude: place[0], longitude: place[1], attributes: {} };
  const asked = housevis.server.attributes;
  if (asked && asked.length) {
    body.replaceChildren(housevis.newHouseForm(question, asked, body));
    return Promise.resolve();
  }
  return housevis.askServer("estimate", question).then(
    (answer) => body.replaceChildren(...housevis.newHouseAnswer(answer)),
    function (problem) {
      const missing = problem.answer && problem.answer.missing;
      body.replaceChildren(missing ? housevis.newHouseForm(question, missing, body)
        : element("p", { class: "problem", role: "alert" }, problem.message));
    });
};

/* Every attribute that the model needs is asked for; what is not known has to be said. */
housevis.newHouseForm = function (question, fields, body) {
  const element = housevis.element;
  const inputs = fields.map(function (field) {
    const unit = field.unit === "m2" ? housevis.houses.squareMetres : 1;
    const range = [field.lowest, field.highest].map((value) => Math.round((100 * value) / unit) / 100);
    const input = element("input", { type: "number", step: "any", name: field.name, required: true });
    const unknown = element("input", {
      type: "checkbox", onchange: function () { input.disabled = unknown.checked; input.required = !unknown.checked; },
    });
    const words = field.unit === "m2" ? `${field.label}, ${housevis.areaUnitWords()}` : field.label;
    const line = element("div", { class: "asked" },
      element("label", {}, element("span", {}, words), input),
      element("label", { class: "check" }, unknown, element("span", {}, "not known")),
      element("small", {}, `sold houses: ${range[0].toLocaleString("en-US")} to ${range[1].toLocaleString("en-US")}`));
    return { line: line, read: () => [field.name, unknown.checked ? null : Number(input.value) * unit] };
  });
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const send = element("button", { type: "submit", class: "action" }, "Estimate");
  return element("form", {
    onsubmit: function (event) {
      event.preventDefault();
      send.disabled = true;
      problem.hidden = true;
      const attributes = Object.fromEntries(inputs.map((each) => each.read()));
      housevis.askServer("estimate", { ...question, attributes: attributes }).then(function (answer) {
        body.replaceChildren(...housevis.newHouseAnswer(answer));
        document.getElementById("card").scrollTop = 0;
      }, function (refused) {
        problem.textContent = refused.message;
        problem.hidden = false;
      }).finally(() => { send.disabled = false; });
    },
  }, element("p", { class: "note" }, "Nothing is filled in for you. What is not known makes the estimate less sure."),
  inputs.map((each) => each.line), problem, send);
};

housevis.newHouseAnswer = function (answer) {
  const element = housevis.element;
  const drivers = answer.drivers.map(({ name, amount }) => [housevis.driverName(name), amount])
    .sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
  const largest = Math.max(1, ...drivers.map((driver) => Math.abs(driver[1])));
  const outside = Object.keys(answer.outside_training);
  const notes = answer.notes.concat(
    outside.length ? [`Beyond all sales that the model learned from: ${outside.map(housevis.driverName).join(", ")}.`] : [],
    answer.unknown.length ? [`Not known: ${answer.unknown.map(housevis.driverName).join(", ")}.`] : [],
    answer.confidence_reasons.length ? [`Less sure because: ${answer.confidence_reasons.join("; ")}.`] : []);
  return [
    element("section", { "aria-label": "Estimate" },
      element("dl", { class: "amounts" }, element("div", {}, element("dt", {}, "Estimate"),
        element("dd", {}, housevis.rounded(answer.estimate)), element("dd", { class: "small" }, `on ${answer.valuation_date}`))),
      element("p", { class: "range-words" },
        `${Math.round(answer.interval * 100)} % range ${housevis.rounded(answer.low, "floor")} to ${housevis.rounded(answer.high, "ceil")}`),
      element("p", { class: "chips" },
        answer.confidence ? element("span", { class: `chip grade-${answer.confidence}` }, `Confidence: ${answer.confidence}`) : null,
        element("span", { class: "chip" }, "An estimate, not an appraisal"))),
    element("section", {}, element("h3", {}, "What the estimate rests on"),
      housevis.driverBars(drivers, largest),
      element("p", { class: "note" }, `From a base of ${housevis.rounded(answer.base)} the bars add up to the estimate. Association, not cause.`)),
    answer.comparables.length ? element("section", {}, element("h3", {}, "Sales that support it"),
      element("ul", { class: "bars" }, answer.comparables.map((sale) => element("li", { class: "sale" },
        element("b", {}, `House ${sale.house_id}`), ` ${housevis.money(sale.price)}, ${sale.sale_date}, ${housevis.metres(sale.metres)} away`,
        element("small", {}, sale.why))))) : null,
    notes.length ? element("section", {}, notes.map((words) => element("p", { class: "note" }, words))) : null,
  ].filter(Boolean);
};

/* A driver or an attribute in words. */
housevis.driverName = function (name) {
  const words = name.replace(/_m2$/, "").replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
};
