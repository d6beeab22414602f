"use strict";

/* A house that is not among the sold ones: its spot, the question to the server, and what goes wrong. */

/* Presses count from the first zoom on; below the second the map comes near, so that the spot can be judged. */
housevis.ASKED_ZOOM = 14;
housevis.CLEAR_ZOOM = 16;

/* What was asked last, so that the browser's back button leads back to its answer. */
housevis.asked = { place: null, body: null, house: null };

/* Listen for a press on an empty spot; only a server reckons estimates, so without one nothing happens. */
housevis.startNewHouses = function () {
  if (!housevis.server) return;
  document.getElementById("shown").parentElement.before(housevis.element("p", { class: "hint" },
    "Press a spot without a house, near enough, to have one estimated there."));
  housevis.map.on("click", function (event) {
    if (housevis.map.getZoom() >= housevis.ASKED_ZOOM) housevis.newHouse([event.latlng.lat, event.latlng.lng]);
  });
};

/* Open the form of a spot, which gets an address of its own. */
housevis.newHouse = function (place) {
  const hash = `#place=${place.map((degrees) => degrees.toFixed(6)).join(",")}`;
  if (window.location.hash === hash) housevis.openFromAddress();
  else window.location.hash = hash;
};

housevis.showNewHouse = function (place) {
  const { asked } = housevis;
  const known = asked.body && asked.place.every((part, at) => part === place[at]);
  housevis.clearOpened();
  if (!known) {
    const body = housevis.element("div", { class: "new-house" });
    Object.assign(asked, { place: place, body: body, house: housevis.spotHouse(place) });
    housevis.startForm(place, body);
  }
  housevis.opened.house = asked.house;
  const card = housevis.openCard("Estimate a house here",
    `Latitude ${housevis.degrees(place[0])}, longitude ${housevis.degrees(place[1])}`, asked.body);
  card.setAttribute("aria-busy", "false");
  card.focus({ preventScroll: true });
  housevis.drawNewHouse();
};

/* A spot of which nothing is known yet; see housevis.opened. */
housevis.spotHouse = (place) => ({
  row: null, place: place, name: "the new house", picture: null, overlays: null, status: "", valueStatus: "",
});

housevis.drawNewHouse = function () {
  if (housevis.opened.house !== housevis.asked.house) return;
  if (housevis.opened.house.picture) housevis.drawOnMap();
  else {
    housevis.map.invalidateSize({ animate: false, pan: false });
    housevis.drawSelected();
    housevis.bringIntoView(housevis.opened.house.place);
  }
  if (housevis.houses.pictures) housevis.followControls();
};

/* The form; where the page does not know what has to be asked, the server's refusal says it. */
housevis.startForm = function (place, body) {
  const question = { latitude: place[0], longitude: place[1], attributes: {} };
  const fields = housevis.server.attributes;
  if (fields && fields.length) {
    body.replaceChildren(housevis.newHouseForm(question, fields, body));
    return;
  }
  body.replaceChildren(housevis.element("p", { class: "status", role: "status" }, "Asking the server…"));
  housevis.askServer("estimate", question).then(
    (answer) => housevis.showAnswer(answer, body, null),
    function (problem) {
      if (problem.missing) body.replaceChildren(housevis.newHouseForm(question, problem.missing, body));
      else body.replaceChildren(housevis.refusal(problem), housevis.againButton(() => housevis.startForm(place, body)));
    });
};

/* Put a question to the server. An error says why there is no answer, in words that help. */
housevis.askServer = async function (path, question) {
  let response;
  try {
    response = await window.fetch(`${housevis.server.api}${path}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
    });
  } catch (problem) {
    throw new Error("The server does not answer. It may have been stopped, or the connection to it is lost. "
      + "What you entered stays here.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const told = answer && typeof answer.detail === "string" ? answer.detail : "";
  const wait = Number(response.headers.get("retry-after")) || 5;
  const words = response.status === 429 ? `Too many questions came from this address. Try again in ${wait} seconds.`
    : response.status === 503 ? `${told || "The server cannot answer now."} Nothing you entered is lost.`
      : response.status === 401 ? "The server wants its token again: load this page anew."
        : told || `The server's answer could not be read (status ${response.status}).`;
  throw Object.assign(new Error(words), { missing: answer && answer.missing });
};

housevis.refusal = (problem) => housevis.element("div", { class: "problem", role: "alert" },
  housevis.element("b", {}, "No estimate"), housevis.element("p", {}, problem.message));

housevis.againButton = (again) => housevis.element("button", { type: "button", class: "action", onclick: again }, "Try again");

/* What an answer shows of the picture; its maps lie where the picture lies. */
housevis.estimatedHouse = function (answer) {
  const { picture, attention, value_map: value } = answer;
  const none = housevis.spotHouse(housevis.asked.place);
  if (!picture) return { ...none, status: "no imagery", valueStatus: "no imagery" };
  const overlays = { bounds: picture.bounds };
  if (attention && attention.image) overlays.attention = attention.image;
  if (value && value.image) overlays.value = value.image;
  return {
    ...none,
    picture: {
      file: picture.image, bounds: picture.bounds, house: picture.house, missingTiles: picture.missing_tiles,
      attribution: picture.attribution,
    },
    overlays: overlays,
    status: attention ? attention.status : "",
    valueStatus: value ? value.status : "",
  };
};

/* Show an answer in place of the form, which comes back as it was left. */
housevis.showAnswer = function (answer, body, form) {
  if (body !== housevis.asked.body || housevis.opened.house !== housevis.asked.house) return;
  housevis.opened.house = housevis.asked.house = housevis.estimatedHouse(answer);
  body.replaceChildren(...housevis.newHouseAnswer(answer), form ? housevis.element("button", {
    type: "button", class: "action action-second",
    onclick: function () {
      body.replaceChildren(form);
      form.querySelector("input").focus();
    },
  }, "Change what the house has") : "");
  const card = document.getElementById("card");
  card.scrollTop = 0;
  card.focus({ preventScroll: true });
  housevis.drawNewHouse();
};
