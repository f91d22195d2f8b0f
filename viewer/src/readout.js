// What lies under the crosshair, in numbers.

export class Readout {
  constructor(root, description, volumes, scene) {
    this.description = description;
    this.volumes = volumes;
    this.fields = Object.fromEntries([...root.querySelectorAll("[data-value]")].map((field) => [field.dataset.value, field]));
    this.spoken = root.querySelector("[data-spoken]");
    scene.onChange(() => this.update(scene));
  }

  update(scene) {
    const { voxel } = scene;
    const inBrain = this.volumes.brain.value(voxel) > 0.5;
    const [x, y, z] = this.volumes.brain.millimetres(voxel);
    const values = {
      x: side(x, "R", "L"),
      y: side(y, "A", "P"),
      z: side(z, "S", "I"),
      region: inBrain ? regions(this.description.regions, this.volumes, voxel) : "outside the brain",
    };
    for (const { name, kind, unit, decimals } of this.description.volumes) {
      const value = this.volumes[name].value(voxel);
      const text = unit === "SD" ? signed(value, decimals) : value.toFixed(decimals);
      values[name] = kind === "dose" || inBrain ? `${text} ${unit}`.trim() : "\u2013";
    }
    for (const map of this.description.maps) {
      values[`map-${map.name}`] = signed(this.volumes[map.volume].value(voxel), this.description.decimals);
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
      const volumes = this.description.volumes.map(({ name, title }) => `${title} ${values[name]}`);
      const maps = this.description.maps.map(({ name, title }) => `change of p_rice, ${title}, ${values[`map-${name}`]}`);
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
