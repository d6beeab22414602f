"use strict";
const overlay = document.getElementById("overlay");
const opacity = document.getElementById("opacity");
const show = () => {
  const share = overlay.checked ? Number(opacity.value) / 100 : 0;
  document.documentElement.style.setProperty("--heat", String(share));
  document.getElementById("shown").textContent = `${opacity.value} %`;
  opacity.disabled = !overlay.checked;
};
overlay.addEventListener("change", show);
opacity.addEventListener("input", show);
document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("controls").hidden = false;
show();
