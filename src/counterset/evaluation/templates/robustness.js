"use strict";
const chart = document.querySelector(".chart");
const told = document.getElementById("told");

function tell(point) {
  told.replaceChildren();
  const name = document.createElement("strong");
  name.textContent = point.dataset.model;
  told.append(name);
  for (const fact of JSON.parse(point.dataset.facts)) {
    const line = document.createElement("div");
    line.textContent = fact;
    told.append(line);
  }
  told.hidden = false;
  const place = point.querySelector(".dot").getBoundingClientRect();
  const around = chart.getBoundingClientRect();
  const left = place.left - around.left + place.width + 8;
  const fits = left + told.offsetWidth < around.width;
  const beside = fits ? left : Math.max(0, place.left - around.left - told.offsetWidth - 8);
  told.style.left = `${beside}px`;
  told.style.top = `${Math.max(0, Math.min(place.top - around.top, around.height - told.offsetHeight))}px`;
  for (const other of document.querySelectorAll(".chosen")) other.classList.remove("chosen");
  point.classList.add("chosen");
}

function hush() {
  told.hidden = true;
  for (const other of document.querySelectorAll(".chosen")) other.classList.remove("chosen");
}

for (const point of document.querySelectorAll(".point")) {
  point.addEventListener("pointerenter", () => tell(point));
  point.addEventListener("click", () => tell(point));
  point.addEventListener("focus", () => tell(point));
  point.addEventListener("pointerleave", hush);
  point.addEventListener("blur", hush);
}

for (const box of document.querySelectorAll("input[data-shows]")) {
  box.addEventListener("change", () => {
    for (const mark of document.querySelectorAll(".mark")) {
      const boxes = mark.dataset.group.split(" ").map((group) => document.querySelector(`input[data-shows="${group}"]`));
      mark.classList.toggle("hidden", boxes.some((one) => one && !one.checked));
    }
    hush();
  });
}
