// One volume in its planes: NiiVue draws the slices with the map on top, a canvas above it lines and crosshair.
import { Niivue, SLICE_TYPE } from "@niivue/niivue";
import { AXES } from "./lines.js";

const PLANES = { axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL };
const PLANE_OF = Object.fromEntries(Object.entries(PLANES).map(([name, type]) => [type, name]));
const CROSSHAIR = "#35e0ff";
const TEXT = "#d9dee3";
/** What lies at the low and at the high end of each world axis. */
const ENDS = ["LR", "PA", "IS"];

export class Panel {
  /** element: holds a canvas .slices and a canvas .lines. description: name, colours and window of the volume. */
  static async create(element, description, volume, lines) {
    const panel = new Panel(element, description, volume, lines);
    await panel.viewer.attachToCanvas(element.querySelector(".slices"), true);
    element.querySelector(".slices").tabIndex = -1; // the figure as a whole takes the keys
    // a frame later NiiVue has seen the new size too
    new ResizeObserver(() => requestAnimationFrame(() => panel.draw())).observe(element);
    return panel;
  }

  constructor(element, description, volume, lines) {
    this.name = description.name;
    this.description = description;
    this.volume = volume;
    this.lines = lines;
    this.over = element.querySelector(".lines");
    this.voxel = [0, 0, 0];
    this.planes = Object.keys(PLANES);
    this.onMove = () => {};
    this.setWindow(description.low, description.high);
    this.viewer = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0,
      dragAndDropEnabled: false,
      dragMode: 0,
      isOrientationTextVisible: false, // written with the lines, where both sides fit
      isForceMouseClickToVoxelCenters: true,
      isRadiologicalConvention: true,
      isSliceMM: true,
      loadingText: "",
      logLevel: "error",
    });
    this.viewer.onLocationChange = ({ vox }) => this.onMove(Array.from(vox).slice(0, 3).map(Math.round));
  }

  /** The ends of the volume's window; seen after the next refresh. */
  setWindow(low, high) {
    Object.assign(this.volume.image, { cal_min: low, cal_max: high });
  }

  refreshVolume() {
    this.viewer.refreshLayers(this.volume.image, 0);
    this.draw();
  }

  setColours(name) {
    this.volume.image.colormap = name; // and with it NiiVue looks for a window of its own
    this.setWindow(this.description.low, this.description.high);
    this.refreshVolume();
  }

  /** The volume with a map on top; both at once, since each step costs NiiVue a pass over all voxels. */
  show(map) {
    this.viewer.volumes = [this.volume.image, map];
    this.viewer.setVolume(this.volume.image);
  }

  refreshMap() {
    this.viewer.refreshLayers(this.viewer.volumes[1], 1);
    this.draw();
  }

  setMapOpacity(opacity) {
    this.viewer.overlayAlphaShader = opacity;
    this.draw();
  }

  setPlanes(planes) {
    this.planes = planes;
    const height = 1 / planes.length;
    this.viewer.setCustomLayout(planes.map((plane, row) => ({ sliceType: PLANES[plane], position: [0, row * height, 1, height] })));
    this.draw();
  }

  /** Enlarge around a place; centre: world millimetres. */
  setZoom(zoom, centre) {
    const middle = this.volume.shape.map((n, axis) => this.volume.origin[axis] + ((n - 1) / 2) * this.volume.spacing[axis]);
    this.viewer.scene.pan2Dxyzmm = [...middle.map((mm, axis) => mm - zoom * centre[axis]), zoom];
    this.draw();
  }

  moveTo(voxel) {
    this.voxel = voxel;
    this.viewer.scene.crosshairPos = voxel.map((index, axis) => (index + 0.5) / this.volume.shape[axis]);
    this.draw();
  }

  draw() {
    this.viewer.drawScene();
    this.drawLines();
  }

  drawLines() {
    const { canvas } = this.viewer;
    if (this.over.width !== canvas.width || this.over.height !== canvas.height) {
      [this.over.width, this.over.height] = [canvas.width, canvas.height];
    }
    const paper = this.over.getContext("2d");
    paper.clearRect(0, 0, this.over.width, this.over.height);
    for (const tile of this.viewer.screenSlices.filter(({ leftTopWidthHeight: [, , width, height] }) => width > 0 && height > 0)) {
      paper.save();
      paper.beginPath();
      paper.rect(...tile.leftTopWidthHeight);
      paper.clip();
      this.drawTile(paper, PLANE_OF[tile.axCorSag], place(tile));
      paper.restore();
    }
  }

  drawTile(paper, plane, at) {
    const [across, up, depth] = AXES[plane];
    const pixels = this.over.width / this.over.clientWidth || 1;
    const { origin, spacing } = this.volume;
    const xy = (u, v) => [at.x(origin[across] + u * spacing[across]), at.y(origin[up] + v * spacing[up])];
    paper.globalAlpha = this.lines.opacity;
    this.lines.inSlice(plane, this.voxel[depth]).forEach(({ line, segments }) => {
      if (line.shown && this.lines.opacity > 0) {
        drawLine(paper, line, segments, xy, at.box, pixels);
      }
    });
    paper.globalAlpha = 1;
    drawCrosshair(paper, xy(this.voxel[across], this.voxel[up]), at.box, pixels);
    const mm = origin[depth] + this.voxel[depth] * spacing[depth];
    drawFrame(paper, [across, up], `${plane}, ${"xyz"[depth]} ${mm.toFixed(0)} mm`.replace("-", "\u2212"), at, pixels);
  }
}

/** From world millimetres to the canvas, within NiiVue's tile. */
function place(tile) {
  const [left, top, width, height] = tile.leftTopWidthHeight;
  const [mm, fov] = [tile.leftTopMM, tile.fovMM];
  return {
    box: [left, top, width, height],
    reversed: fov[0] < 0, // radiological: the low end of the axis is on the right
    x: (value) => left + ((value - mm[0]) / fov[0]) * width,
    y: (value) => top + height - ((value - mm[1]) / fov[1]) * height,
  };
}

function drawLine(paper, line, segments, xy, box, pixels) {
  if (segments.length === 0) {
    return;
  }
  const path = new Path2D();
  const [toX, toY] = [Math.cos(line.label_at ?? 0), -Math.sin(line.label_at ?? 0)];
  let [best, spot] = [-Infinity, null];
  for (let i = 0; i < segments.length; i += 4) {
    const [x, y] = xy(segments[i], segments[i + 1]);
    path.moveTo(x, y);
    path.lineTo(...xy(segments[i + 2], segments[i + 3]));
    if (x * toX + y * toY > best) {
      [best, spot] = [x * toX + y * toY, [x, y]];
    }
  }
  paper.lineCap = "round";
  paper.setLineDash([]);
  paper.strokeStyle = "rgb(0 0 0 / 55%)";
  paper.lineWidth = 3 * pixels;
  paper.stroke(path);
  paper.strokeStyle = line.colour;
  paper.lineWidth = 1.4 * pixels;
  paper.stroke(path);
  if (line.label) {
    const within = (value, from, size, before, after) => Math.min(Math.max(value, from + before * pixels), from + size - after * pixels);
    const x = within(spot[0] + (toX - 0.5) * 7 * pixels, box[0], box[2], 18, 32);
    const y = within(spot[1] + (toY + 0.5) * 7 * pixels, box[1], box[3], 14, 24);
    write(paper, line.label, x, y, line.colour, pixels);
  }
}

function drawCrosshair(paper, [x, y], [left, top, width, height], pixels) {
  const gap = 9 * pixels;
  paper.beginPath();
  for (const [fromX, fromY, toX, toY] of [
    [left, y, x - gap, y],
    [x + gap, y, left + width, y],
    [x, top, x, y - gap],
    [x, y + gap, x, top + height],
  ]) {
    paper.moveTo(fromX, fromY);
    paper.lineTo(toX, toY);
  }
  paper.strokeStyle = CROSSHAIR;
  paper.globalAlpha = 0.75;
  paper.lineWidth = pixels;
  paper.stroke();
  paper.globalAlpha = 1;
}

/** The directions at the four edges, and which slice it is. */
function drawFrame(paper, [across, up], title, { box: [left, top, width, height], reversed }, pixels) {
  const [atLeft, atRight] = reversed ? [...ENDS[across]].reverse() : ENDS[across];
  const [atBottom, atTop] = ENDS[up];
  const edge = 5 * pixels;
  paper.textAlign = "left";
  write(paper, atLeft, left + edge, top + height / 2, TEXT, pixels);
  write(paper, title, left + edge, top + height - 1.4 * edge, TEXT, pixels);
  paper.textAlign = "right";
  write(paper, atRight, left + width - edge, top + height / 2, TEXT, pixels);
  write(paper, atBottom, left + width - edge, top + height - 1.4 * edge, TEXT, pixels);
  write(paper, atTop, left + width - edge, top + edge + 9 * pixels, TEXT, pixels);
  paper.textAlign = "left";
}

function write(paper, text, x, y, colour, pixels) {
  paper.font = `600 ${11 * pixels}px system-ui, sans-serif`;
  paper.lineWidth = 3 * pixels;
  paper.strokeStyle = "rgb(0 0 0 / 80%)";
  paper.lineJoin = "round";
  paper.strokeText(text, x, y);
  paper.fillStyle = colour;
  paper.fillText(text, x, y);
}
