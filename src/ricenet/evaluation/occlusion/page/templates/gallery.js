"use strict";
// Shows the subjects of one label, or the wrong ones alone.
const tiles = [...document.querySelectorAll(".gallery > li")];
const label = document.querySelector('[data-filter="label"]');
const wrong = document.querySelector('[data-filter="wrong"]');
const count = document.querySelector("[data-shown]");

function filter() {
  const shown = tiles.filter((tile) => {
    tile.hidden = (label.value !== "" && tile.dataset.label !== label.value) || (wrong.checked && !("wrong" in tile.dataset));
    return !tile.hidden;
  });
  count.textContent = `${shown.length} of ${tiles.length} subjects shown`;
}
label.addEventListener("input", filter);
wrong.addEventListener("input", filter);
filter();
// where the page stands in another's frame, links cannot be followed
document.documentElement.classList.toggle("framed", window.self !== window.top);
