"use strict";
// Each viewer lays one picture over another; a slider blends them, a button lets them alternate.
const SWAP_MS = 900;
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

document.querySelectorAll("[data-viewer]").forEach((viewer) => {
  viewer.querySelectorAll("[data-outline]").forEach((box) => {
    const line = viewer.querySelector(`[data-line="${box.dataset.outline}"]`);
    box.addEventListener("change", () => line.setAttribute("visibility", box.checked ? "visible" : "hidden"));
  });
  const over = viewer.querySelector(".over");
  if (over === null) { return; }
  const blend = viewer.querySelector("[data-blend]");
  const play = viewer.querySelector("[data-play]");
  const showing = viewer.querySelector("[data-showing]");
  const overName = viewer.querySelector("[data-over-name]");
  let timer = null;

  function show(percent) {
    blend.value = percent;
    over.style.opacity = percent / 100;
    const names = [viewer.dataset.under, overName.textContent];
    showing.textContent = percent <= 0 ? names[0] : percent >= 100 ? names[1] : `${names[0]} and ${names[1]}`;
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }
  function start() {
    timer = setInterval(() => show(Number(blend.value) < 50 ? 100 : 0), SWAP_MS);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
  }

  play.addEventListener("click", () => (timer === null ? start() : stop()));
  blend.addEventListener("input", () => { stop(); show(Number(blend.value)); });
  viewer.querySelectorAll('input[type="radio"]').forEach((choice) => {
    choice.addEventListener("change", () => {
      over.setAttribute("href", `#${over.dataset.sheet}-${choice.value}`);
      overName.textContent = choice.dataset.name;
      if (timer === null && Number(blend.value) === 0) { show(100); } else { show(Number(blend.value)); }
    });
  });
  show(0);
  if ("plays" in viewer.dataset && !still) { start(); }
});
