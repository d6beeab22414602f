"use strict";

/* A line over the map that says what it waits for, what went wrong, and what helps. */

housevis.startNotes = function () {
  housevis.note = housevis.element("div", { class: "note-line", role: "status" });
  document.body.append(housevis.note);
};

/* Say something, with a button where there is one: a pair of its words and what it does. No words take the line away. */
housevis.sayNote = function (words, button) {
  clearTimeout(housevis.asksAgain);
  housevis.map.getContainer().setAttribute("aria-busy", "false");
  housevis.note.classList.remove("note-loading");
  housevis.note.replaceChildren(...(words ? [housevis.element("span", {}, words)] : []));
  if (button) {
    housevis.note.append(housevis.element("button", { type: "button", class: "link", onclick: button[1] }, button[0]));
  }
};

housevis.sayLoading = function () {
  housevis.sayNote("Loading the houses of this view…");
  housevis.note.classList.add("note-loading");
  housevis.map.getContainer().setAttribute("aria-busy", "true");
};

/* A question that was not answered; `again` puts it once more, by itself where that may help. */
housevis.sayProblem = function (problem, again) {
  if (problem.signIn) {
    housevis.sayNote("Your session has ended.");
    housevis.note.append(housevis.element("a", { href: "/sign-in" }, "Sign in again"));
    return;
  }
  housevis.sayNote(problem.wait ? `${problem.message} It is asked again in ${problem.wait} seconds.` : problem.message,
    ["Ask now", again]);
  if (problem.wait) housevis.asksAgain = setTimeout(again, 1000 * problem.wait);
};
