// Starts the viewer of a case page. The page holds a JSON description and one gzipped NIfTI, in base64, a volume.
import { Controls } from "./controls.js";
import { Lines } from "./lines.js";
import { Panel } from "./panel.js";
import { Readout } from "./readout.js";
import { Scene } from "./scene.js";
import { readVolume } from "./volumes.js";

const root = document.querySelector("[data-viewer]");

function hasWebGL2() {
  try {
    return document.createElement("canvas").getContext("webgl2") !== null;
  } catch {
    return false;
  }
}

function fail(why) {
  root.classList.add("failed");
  root.querySelector("[data-why]").textContent = why;
  return null;
}

async function start() {
  if (!hasWebGL2()) {
    return fail("This browser offers no WebGL 2, which the viewer draws with.");
  }
  const description = JSON.parse(document.getElementById("case").textContent);
  const names = [...description.volumes.map((v) => v.name), ...description.maps.map((m) => m.volume), ...description.masks];
  const volumes = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readVolume(name)])));
  const lines = new Lines(description.lines, volumes);
  const panels = await Promise.all(
    description.volumes.map((volume) => Panel.create(root.querySelector(`[data-panel="${volume.name}"]`), volume, volumes[volume.name], lines)),
  );
  const scene = new Scene(description, volumes, panels);
  new Readout(root, description, volumes, scene);
  new Controls(root, description, scene, lines);
  scene.begin();
  root.classList.add("ready");
  return scene;
}

// a promise of the scene, null where it cannot be shown: for the tests and for the console
window.ricenetViewer = start().catch((error) => fail(`The viewer did not start: ${error.message}.`));
