// Sliders, choices and keys.
import { signed } from "./readout.js";

// the patient's right is on the left of the page, so an arrow to the left goes to the patient's right
const STEPS = {
  ArrowLeft: [1, 0, 0],
  ArrowRight: [-1, 0, 0],
  ArrowUp: [0, 1, 0],
  ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1],
  PageDown: [0, 0, -1],
};

export class Controls {
  constructor(root, description, scene, lines) {
    this.root = root;
    this.description = description;
    this.scene = scene;
    this.lines = lines;
    this.bindMap();
    this.bindLines();
    this.bindView();
    this.bindKeys();
    this.bindWheel();
  }

  find(name) {
    return this.root.querySelector(`[data-control="${name}"]`);
  }

  /** Call at once and at every later change of a control; slow answers follow at most once a frame. */
  on(name, answer) {
    const control = this.find(name);
    let asked = false;
    control?.addEventListener("input", () => {
      if (!asked) {
        asked = true;
        requestAnimationFrame(() => {
          asked = false;
          answer(control.type === "checkbox" ? control.checked : control.value, control);
        });
      }
    });
  }

  bindMap() {
    const { scene } = this;
    this.on("map", (name) => scene.setMap(name || null));
    this.on("opacity", (percent) => scene.setMapOpacity(percent / 100));
    this.on("threshold", (percent) => scene.setScale({ threshold: percent / 100 }));
    this.on("below", (kind) => scene.setScale({ soft: kind === "soft" }));
    this.on("common", (common) => scene.setScale({ common }));
    scene.onChange(() => this.showScale());
  }

  showScale() {
    const { scene, description } = this;
    const { limit, state } = scene;
    const percent = (share) => `${Math.round(100 * share)} %`;
    this.root.querySelector("[data-scale]").hidden = scene.map === null;
    this.write("opacity", percent(state.opacity));
    this.write("threshold", `${(state.threshold * limit).toFixed(description.decimals)} (${percent(state.threshold)})`);
    this.write("low", signed(-limit, description.decimals));
    this.write("high", signed(limit, description.decimals));
    this.root.style.setProperty("--threshold", `${50 * state.threshold}%`);
    this.root.querySelectorAll("[data-map]").forEach((row) => row.classList.toggle("chosen", row.dataset.map === state.map));
  }

  write(name, text) {
    const field = this.root.querySelector(`[data-output="${name}"]`);
    if (field) {
      field.textContent = text;
    }
  }

  bindLines() {
    this.root.querySelectorAll("[data-line]").forEach((box) => {
      const line = this.lines.all.find(({ name }) => name === box.dataset.line);
      box.addEventListener("input", () => {
        line.shown = box.checked;
        this.scene.redrawLines();
      });
    });
    this.on("line-opacity", (percent) => {
      this.lines.opacity = percent / 100;
      this.write("line-opacity", `${percent} %`);
      this.scene.redrawLines();
    });
  }

  bindView() {
    const { scene, description, root } = this;
    this.on("planes", (planes) => {
      root.classList.toggle("one-plane", planes !== "all");
      scene.setPlanes(planes === "all" ? description.planes : [planes]);
    });
    this.on("brightness", (percent) => {
      scene.setBrightness(percent / 100);
      this.write("brightness", `${percent} %`);
    });
    this.on("zoom", (percent) => {
      scene.setZoom((description.zoom * percent) / 100);
      this.write("zoom", `${percent} %`);
    });
    this.on("dose-colours", (coloured) => scene.setDoseColours(coloured ? "inferno" : "gray"));
    root.querySelectorAll("[data-go]").forEach((button) => {
      button.addEventListener("click", () => {
        const place = button.dataset.go;
        scene.moveTo(place === "strongest" ? (scene.map ?? description.maps[0]).strongest : description.places[place]);
      });
    });
  }

  bindKeys() {
    const figure = this.root.querySelector("[data-figure]");
    const press = (event) => {
      event.stopPropagation(); // NiiVue has keys of its own, which would change more than one looks for
      const step = STEPS[event.key];
      if (event.type === "keydown" && step && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        const times = event.shiftKey ? 5 : 1;
        this.scene.moveTo(this.scene.voxel.map((index, axis) => index + times * step[axis]));
      }
    };
    figure.addEventListener("keydown", press, true);
    figure.addEventListener("keyup", press, true);
    // a double click would undo the window in one panel alone
    figure.addEventListener("dblclick", (event) => event.stopPropagation(), true);
  }

  /** The wheel scrolls slices once an image was clicked, and the page before that. */
  bindWheel() {
    const figure = this.root.querySelector("[data-figure]");
    const hint = this.root.querySelector("[data-hint]");
    figure.addEventListener(
      "wheel",
      (event) => {
        if (!figure.contains(document.activeElement)) {
          event.stopPropagation();
          hint.classList.add("seen");
          clearTimeout(this.hiding);
          this.hiding = setTimeout(() => hint.classList.remove("seen"), 1600);
        }
      },
      { capture: true, passive: true },
    );
    figure.addEventListener("pointerdown", () => hint.classList.remove("seen"));
  }
}
