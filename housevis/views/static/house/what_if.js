"use strict";

/* What if the house were otherwise: only a server reckons that. */
housevis.whatIfWait = 150;

/* What a slider holds in the unit it is shown in; areas are told in the unit of the listings. */
housevis.shownUnit = function (name) {
  return name === "area_m2" ? housevis.houses.squareMetres : 1;
};

housevis.whatIfSection = function (house) {
  const heading = "What if";
  if (!housevis.houses.whatIf.length) return null;
  if (!housevis.server) {
    return housevis.section(heading, "what-if", housevis.note(
      "This page was opened without a server. With ", housevis.element("code", {}, "housevis serve"),
      " it offers sliders here that change the attributes of this house, and reckons the estimate anew."));
  }
  const changes = {};
  const answer = housevis.element("div", { class: "what-if-answer", role: "status" });
  const reset = housevis.element("button", { type: "button", disabled: true }, "Undo the changes");
  const sliders = housevis.houses.whatIf.map((each) => housevis.slider(house, each, function (value) {
    if (value === null) delete changes[each.name];
    else changes[each.name] = value;
    reset.disabled = !Object.keys(changes).length;
    housevis.askWhatIf(house, changes, answer);
  }));
  reset.addEventListener("click", function () {
    for (const each of sliders) each.reset();
    for (const name of Object.keys(changes)) delete changes[name];
    reset.disabled = true;
    housevis.askWhatIf(house, changes, answer);
  });
  housevis.tellWhatIf(house, null, answer);
  return housevis.section(heading, "what-if",
    housevis.element("p", {}, "Change what the house has; all else stays as it is, its place and its picture too."),
    housevis.element("div", { class: "sliders" }, sliders.map((each) => each.element)),
    answer, reset, housevis.note(housevis.houses.meaning));
};

/* One attribute; `changed` gets its value in the unit of the model, or null where it is as it stands. */
housevis.slider = function (house, { name, low, high, step }, changed) {
  const unit = housevis.shownUnit(name);
  const own = house.attributes[name];
  const size = unit === 1 ? step : 10;
  const start = own === null || own === undefined ? null : own / unit;
  const least = Math.min(Math.floor(low / unit / size) * size, start === null ? Infinity : start);
  const most = Math.max(Math.ceil(high / unit / size) * size, start === null ? -Infinity : start);
  const fits = start === null || Math.abs((start - least) / size - Math.round((start - least) / size)) < 1e-9;
  const words = housevis.element("output", {}, housevis.valueWords(name, own === undefined ? null : own));
  const input = housevis.element("input", {
    type: "range", min: String(least), max: String(most), step: fits ? String(size) : "any",
    name: name, "aria-valuetext": words.textContent,
  });
  input.value = String(start === null ? (least + most) / 2 : start);
  const standing = input.value;
  const tell = function (value) {
    words.textContent = housevis.valueWords(name, value);
    input.setAttribute("aria-valuetext", words.textContent);
  };
  input.addEventListener("input", function () {
    const same = start !== null && input.value === standing;
    const snapped = fits ? Number(input.value) : Math.round(Number(input.value) / size) * size;
    const value = same ? own : snapped * unit;
    tell(value);
    changed(same ? null : value);
  });
  const reset = function () {
    input.value = standing;
    tell(own === undefined ? null : own);
  };
  return { reset: reset, element: housevis.element("label", {},
    housevis.element("span", {}, housevis.houses.labels[name] || name), words, input) };
};

/* Ask once the slider rests; an older answer never replaces a newer one. */
housevis.askWhatIf = function (house, changes, answer) {
  window.clearTimeout(housevis.whatIfTimer);
  const number = housevis.whatIfAsked = (housevis.whatIfAsked || 0) + 1;
  if (!Object.keys(changes).length) return housevis.tellWhatIf(house, null, answer);
  answer.setAttribute("aria-busy", "true");
  housevis.whatIfTimer = window.setTimeout(function () {
    const address = `${housevis.server.api}houses/${encodeURIComponent(house.house_id)}/what-if`;
    window.fetch(address, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ attributes: changes }),
    }).then(function (response) {
      return response.json().then(function (found) {
        if (response.ok) return found;
        throw new Error(typeof found.detail === "string" ? found.detail : "The server refused this change.");
      });
    }).then(function (found) {
      if (number === housevis.whatIfAsked) housevis.tellWhatIf(house, found, answer);
    }, function (problem) {
      if (number !== housevis.whatIfAsked) return;
      answer.removeAttribute("aria-busy");
      const words = problem instanceof TypeError ? "The server does not answer." : problem.message;
      answer.replaceChildren(housevis.element("p", { class: "problem" }, words));
    });
  }, housevis.whatIfWait);
  return undefined;
};

housevis.tellWhatIf = function (house, found, answer) {
  answer.removeAttribute("aria-busy");
  if (!found) {
    answer.replaceChildren(housevis.element("p", {}, "As it stands: ", housevis.element("b", {}, housevis.fourDigits(house.estimate))));
    return;
  }
  const outside = Object.entries(found.outside_training || {}).map(([name, [low, high]]) => housevis.note(
    `${housevis.houses.labels[name] || name} lies outside of the sales that the model learned from `
    + `(${housevis.valueWords(name, low)} to ${housevis.valueWords(name, high)}): it counts about as the nearest of them.`));
  answer.replaceChildren(
    housevis.element("p", {}, "Then: ", housevis.element("b", {}, housevis.fourDigits(found.estimate)),
      `, range ${housevis.rounded(found.low, "floor")} to ${housevis.rounded(found.high, "ceil")}`),
    housevis.element("p", { class: "difference" },
      `${housevis.signedMoney(found.difference)} (${housevis.signedPercent(found.difference_percent / 100, 1)})`),
    ...outside);
};
