// What all panels have in common: crosshair, map, window, planes and zoom.

const SOFT = 1; // NiiVue's kinds of thresholds: below it a map fades out, or is hidden
const HARD = 2;

export class Scene {
  constructor(description, volumes, panels) {
    this.description = description;
    this.volumes = volumes;
    this.panels = panels;
    this.shape = volumes[description.volumes[0].name].shape;
    this.voxel = description.start;
    this.overlay = volumes[description.maps[0].volume].image;
    this.state = { map: description.maps[0].name, opacity: 0.75, threshold: 0.25, soft: true, common: true, zoom: description.zoom, brightness: 1 };
    this.listeners = [];
    for (const panel of panels) {
      panel.onMove = (voxel) => this.moveTo(voxel);
    }
  }

  begin() {
    for (const [name, colours] of Object.entries(this.description.colours)) {
      this.panels[0].viewer.addColormap(name, colours); // NiiVue keeps them for all
    }
    Object.assign(this.overlay, { colormap: "lowers", colormapNegative: "raises", opacity: 1 });
    this.applyScale();
    this.panels.forEach((panel) => panel.show(this.overlay));
    this.setPlanes(this.description.planes);
    this.setMapOpacity(this.state.opacity);
    this.setZoom(this.description.zoom);
    this.moveTo(this.description.start);
  }

  /** The map that lies over the volumes, as it was described; null: none. */
  get map() {
    return this.description.maps.find((map) => map.name === this.state.map) ?? null;
  }

  /** The change of p_rice at which the colours end. */
  get limit() {
    return this.state.common ? Math.max(...this.description.maps.map((map) => map.limit)) : (this.map?.limit ?? 0);
  }

  moveTo(voxel) {
    this.voxel = voxel.map((index, axis) => Math.min(Math.max(index, 0), this.shape[axis] - 1));
    this.panels.forEach((panel) => panel.moveTo(this.voxel));
    this.notify();
  }

  /** Lay another map over the volumes; null takes it off. */
  setMap(name) {
    this.state.map = name;
    if (this.map) {
      const { data, header } = this.volumes[this.map.volume];
      Object.assign(this.overlay, { img: data, hdr: header });
      this.setScale({});
    }
    this.setMapOpacity(this.state.opacity);
  }

  /** A map's colours begin at 0, wherever its threshold is, so that a colour always means the same change. */
  applyScale() {
    const limit = Math.max(this.limit, 1e-9);
    const least = Math.max(this.state.threshold, 1e-3) * limit;
    const colormapType = this.state.soft ? SOFT : HARD;
    Object.assign(this.overlay, { colormapType, cal_min: least, cal_max: limit, cal_minNeg: -limit, cal_maxNeg: -least });
  }

  setScale(change) {
    Object.assign(this.state, change);
    if (this.map) {
      this.applyScale();
      this.panels.forEach((panel) => panel.refreshMap());
    }
    this.notify();
  }

  setMapOpacity(opacity) {
    this.state.opacity = opacity;
    this.panels.forEach((panel) => panel.setMapOpacity(this.map ? opacity : 0));
    this.notify();
  }

  setBrightness(brightness) {
    this.state.brightness = brightness;
    for (const panel of this.panels.filter(({ description }) => description.kind === "mri")) {
      const { low, high } = panel.description;
      panel.setWindow(low, low + (high - low) / brightness);
      panel.refreshVolume();
    }
  }

  setDoseColours(name) {
    this.panels.filter(({ description }) => description.kind === "dose").forEach((panel) => panel.setColours(name));
  }

  setPlanes(planes) {
    this.panels.forEach((panel) => panel.setPlanes(planes));
  }

  /** Enlarge: the whole brain in the middle, or the crosshair where it is closer than that. */
  setZoom(zoom) {
    this.state.zoom = zoom;
    const share = Math.min(1, Math.max(0, (zoom - this.description.zoom) / (0.5 * this.description.zoom)));
    const here = this.panels[0].volume.millimetres(this.voxel);
    const centre = this.description.centre_mm.map((mm, axis) => (1 - share) * mm + share * here[axis]);
    this.panels.forEach((panel) => panel.setZoom(zoom, centre));
  }

  redrawLines() {
    this.panels.forEach((panel) => panel.drawLines());
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  notify() {
    this.listeners.forEach((listener) => listener(this));
  }
}
