// Isodoses and outlines as lines of the volumes' level sets in a slice, kept until the slice changes.

/** Where the slice's in-plane axes lie: across the screen, and up. */
export const AXES = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0] };

export class Lines {
  constructor(description, volumes) {
    this.all = description.map((line) => ({ ...line, source: volumes[line.volume] }));
    this.opacity = 1;
    this.kept = new Map();
  }

  /** The lines of a slice: segments in voxels (across, up, across, up, ...). */
  inSlice(plane, index) {
    const key = `${plane} ${index}`;
    if (!this.kept.has(key)) {
      if (this.kept.size >= 12) {
        this.kept.delete(this.kept.keys().next().value);
      }
      this.kept.set(key, this.all.map((line) => ({ line, segments: trace(line.source, plane, index, line.level) })));
    }
    return this.kept.get(key);
  }
}

/** Marching squares: both diagonals of an ambiguous cell are cut by the mean of its corners. */
export function trace(volume, plane, index, level) {
  const [across, up, depth] = AXES[plane];
  const step = [1, volume.shape[0], volume.shape[0] * volume.shape[1]];
  const [columns, rows] = [volume.shape[across], volume.shape[up]];
  const { data } = volume;
  const limit = volume.stored(level);
  const segments = [];
  const offset = index * step[depth];
  for (let v = 0; v < rows - 1; v += 1) {
    let at = offset + v * step[up];
    for (let u = 0; u < columns - 1; u += 1, at += step[across]) {
      const a = data[at];
      const b = data[at + step[across]];
      const c = data[at + step[across] + step[up]];
      const d = data[at + step[up]];
      const kind = (a >= limit) + 2 * (b >= limit) + 4 * (c >= limit) + 8 * (d >= limit);
      if (kind !== 0 && kind !== 15) {
        cut(segments, [a, b, c, d], kind, limit, u, v);
      }
    }
  }
  return Float32Array.from(segments);
}

// by the bits of the corners at or above the level: pairs of the edges that a line crosses
const CROSSED = [[], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2], [2, 3], [2, 0], [0, 1, 2, 3], [2, 1], [1, 3], [1, 0], [0, 3], []];

function cut(segments, corners, kind, limit, u, v) {
  let edges = CROSSED[kind];
  if ((kind === 5 || kind === 10) && corners.reduce((a, b) => a + b) / 4 >= limit) {
    edges = CROSSED[15 - kind];
  }
  for (const edge of edges) {
    const [from, to] = [corners[edge], corners[(edge + 1) % 4]];
    const share = (limit - from) / (to - from);
    if (edge === 0) {
      segments.push(u + share, v);
    } else if (edge === 1) {
      segments.push(u + 1, v + share);
    } else if (edge === 2) {
      segments.push(u + 1 - share, v + 1);
    } else {
      segments.push(u, v + 1 - share);
    }
  }
}
