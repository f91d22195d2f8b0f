// The page's volumes: decoded once, then read by NiiVue, the lines and the readout alike.
import { NVImage } from "@niivue/niivue";

/** A volume (x fastest) on a grid along the world axes, and NiiVue's image of the same numbers. */
export class Volume {
  constructor(image) {
    this.image = image;
    this.data = image.img; // of its own: the image of a map lends its place to the others
    this.header = image.hdr;
    this.shape = image.hdr.dims.slice(1, 4);
    this.slope = image.hdr.scl_slope;
    this.intercept = image.hdr.scl_inter;
    this.spacing = [0, 1, 2].map((axis) => image.hdr.affine[axis][axis]);
    this.origin = [0, 1, 2].map((axis) => image.hdr.affine[axis][3]);
  }

  value([x, y, z]) {
    return this.data[x + this.shape[0] * (y + this.shape[1] * z)] * this.slope + this.intercept;
  }

  /** The value of a line's level as it is stored, so that a slice need not be rescaled to be traced. */
  stored(value) {
    return (value - this.intercept) / this.slope;
  }

  millimetres(voxel) {
    return voxel.map((index, axis) => this.origin[axis] + index * this.spacing[axis]);
  }
}

export async function readVolume(name) {
  const element = document.getElementById(`volume-${name}`);
  // a window of any kind, set later, spares NiiVue its search for one
  const image = await NVImage.loadFromBase64({ base64: element.textContent.trim(), name: `${name}.nii.gz`, cal_min: 0, cal_max: 1 });
  element.remove(); // the text is no longer needed, and large
  return new Volume(image);
}
