// What lies under the crosshair, in numbers.

export class Readout {
  constructor(root, told, volumes, scene) {
    this.told = told;
    this.volumes = volumes;
    this.fields = Object.fromEntries([...root.querySelectorAll("[data-value]")].map((field) => [field.dataset.value, field]));
    this.spoken = root.querySelector("[data-spoken]");
    scene.onChange(() => this.tell(scene));
  }

  tell(scene) {
    const { voxel } = scene;
    const inBrain = this.volumes.brain.value(voxel) > 0.5;
    const [x, y, z] = this.volumes.brain.millimetres(voxel);
    const values = {
      x: side(x, "R", "L"),
      y: side(y, "A", "P"),
      z: side(z, "S", "I"),
      region: inBrain ? regions(this.told.regions, this.volumes, voxel) : "outside the brain",
    };
    for (const { name, kind } of this.told.volumes) {
      const value = this.volumes[name].value(voxel);
      values[name] = kind === "dose" ? `${value.toFixed(1)} Gy` : inBrain ? `${signed(value, 2)} SD` : "\u2013";
    }
    for (const map of this.told.maps) {
      values[`map-${map.name}`] = signed(this.volumes[map.volume].value(voxel), this.told.decimals);
    }
    for (const [name, text] of Object.entries(values)) {
      if (this.fields[name]) {
        this.fields[name].textContent = text;
      }
    }
    this.speakSoon(values);
  }

  /** For screen readers: once the crosshair rests. */
  speakSoon(values) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      const volumes = this.told.volumes.map(({ name, title }) => `${title} ${values[name]}`);
      const maps = this.told.maps.map(({ name, title }) => `change of p_rice, ${title}, ${values[`map-${name}`]}`);
      this.spoken.textContent = [`${values.x}, ${values.y}, ${values.z}`, values.region, ...volumes, ...maps].join("; ");
    }, 700);
  }
}

function regions(names, volumes, voxel) {
  const inside = names.filter((name) => volumes[name].value(voxel) >= 0.5);
  return inside.length > 0 ? inside.join(", ") : "brain";
}

function side(mm, positive, negative) {
  return `${mm < 0 ? negative : positive} ${Math.abs(mm).toFixed(1)} mm`;
}

/** With its sign, and a true minus; what rounds to nothing has none. */
export function signed(value, decimals) {
  const text = Math.abs(value).toFixed(decimals);
  return Number(text) === 0 ? text : `${value < 0 ? "\u2212" : "+"}${text}`;
}
