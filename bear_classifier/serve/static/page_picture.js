// A photo's file to its picture, in a worker: upright sRGB, as the server decodes it. What cannot be used
// is refused with a sentence. `limits` are the server's: about.json or api/v1/models says them.
const TAIL = 1 << 16; // bytes at the end in which the mark of the end has to be

/** A photo that cannot be used. code: as the server's. */
export class Unusable extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));
const HEIC = /hei[cxms]|hev[cxms]|mif1|msf1/;

/** The format by its first 64 bytes; "" for what no browser reads as a photo. */
export function formatOf(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "jpeg";
  if (text(bytes, 1, 4) === "PNG" && bytes[0] === 0x89) return "png";
  if (text(bytes, 0, 4) === "GIF8") return "gif";
  if (text(bytes, 0, 2) === "BM") return "bmp";
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP") return "webp";
  if (text(bytes, 4, 8) !== "ftyp") return "";
  const brands = text(bytes, 8, 64);
  return /avi[fs]/.test(brands) ? "avif" : HEIC.test(brands) ? "heic" : "";
}

const END = { jpeg: [0xff, 0xd9], png: [0x49, 0x45, 0x4e, 0x44] }; // EOI; IEND

/** Whether the end of the file is missing, which browsers fill up with grey without a word. */
function isCut(bytes, format) {
  const mark = END[format], tail = bytes.subarray(-TAIL);
  if (!mark) return false;
  for (let at = tail.length - mark.length; at >= 0; at -= 1) if (mark.every((byte, n) => tail[at + n] === byte)) return false;
  return true;
}

/** Whether a JPEG in four colours has a profile of them: browsers leave it out, or convert by it otherwise
 * than the server. Without one all agree, with and without Adobe's mark. */
function isOddCmyk(bytes) {
  let four = false, profile = false;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff;) {
    const mark = bytes[at + 1], size = (bytes[at + 2] << 8) | bytes[at + 3];
    if (mark === 0xe2 && text(bytes, at + 4, at + 15) === "ICC_PROFILE" && text(bytes, at + 34, at + 38) === "CMYK") profile = true;
    if (mark >= 0xc0 && mark <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(mark)) four = bytes[at + 9] === 4;
    if (mark === 0xda) break;
    at += 2 + size;
  }
  return four && profile;
}

/** What of an AVIF browsers colour otherwise than the server; "" for nothing. Chromium takes the levels
 * of half clear pixels and of sequences for those of television. */
function oddAvif(bytes) {
  const head = text(bytes, 0, Math.min(bytes.length, TAIL));
  if (/ftyp.{0,60}?avis/s.test(head.slice(0, 80))) return "several pictures";
  return head.includes("auxiliary:alpha") || head.includes("auxid:1") ? "transparency" : "";
}

/** The megapixels that a picture of this format may have. */
function mostOf(bytes, format, { megapixels }) {
  const deep = format === "avif" && /av1C\x81.[\x40-\x7f\xc0-\xff]/s.test(text(bytes, 0, Math.min(bytes.length, TAIL)));
  return megapixels[deep ? "deep" : format];
}

/** The EXIF orientation of a WebP, which browsers leave out; 1 without one. */
function webpTurn(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = view.getUint32(at + 4, true);
    if (text(bytes, at, at + 4) !== "EXIF") { at += 8 + size + (size % 2); continue; }
    const start = at + 8 + (text(bytes, at + 8, at + 12) === "Exif" ? 6 : 0), end = at + 8 + size;
    const little = text(bytes, start, start + 2) === "II";
    if (start + 8 > end) return 1;
    const directory = start + view.getUint32(start + 4, little);
    for (let n = 0; directory + 14 + 12 * n <= end && n < view.getUint16(directory, little); n += 1) {
      const entry = directory + 2 + 12 * n;
      if (view.getUint16(entry, little) === 0x112) return view.getUint16(entry + 8, little);
    }
    return 1;
  }
  return 1;
}

/** The picture turned upright, by its EXIF orientation. */
function turned(picture, turn) {
  if (!(turn >= 2 && turn <= 8)) return picture;
  const { width: w, height: h } = picture, [wide, high] = turn > 4 ? [h, w] : [w, h];
  const canvas = new OffscreenCanvas(wide, high), pen = canvas.getContext("2d");
  pen.transform(...[[-1, 0, 0, 1, w, 0], [-1, 0, 0, -1, w, h], [1, 0, 0, -1, 0, h], [0, 1, 1, 0, 0, 0], [0, 1, -1, 0, h, 0],
    [0, -1, -1, 0, h, w], [0, -1, 1, 0, 0, w]][turn - 2]);
  pen.drawImage(picture, 0, 0);
  picture.close();
  return canvas;
}

function checkSize(width, height, most, { side: [least, longest], aspect }) {
  const size = `${width} x ${height}`;
  if (width * height > most * 1e6) throw new Unusable("TOO_MANY_PIXELS", `${size} pixels; the limit is ${most} megapixels. Save a smaller copy.`);
  if (Math.max(width, height) > longest) throw new Unusable("TOO_MANY_PIXELS", `${size} pixels; the limit for a side is ${longest}. Save a smaller copy.`);
  if (Math.min(width, height) < least) throw new Unusable("TOO_SMALL", `${size} pixels; each side needs at least ${least}.`);
  if (Math.max(width, height) > aspect * Math.min(width, height)) throw new Unusable("ODD_SHAPE", `${size} pixels; the limit is ${aspect} times as long as wide. Crop it.`);
}

/** The picture (ImageBitmap or canvas) of a file. heif: decodes what this browser does not.
 * limits: of photos. Raises Unusable. */
export async function pictureOf(file, heif, limits) {
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Unusable("FILE_LOST", "The file can no longer be read: it was moved, changed, or is a folder. Choose it again.");
  }
  if (!bytes.length) throw new Unusable("EMPTY_FILE", "The file is empty: 0 bytes.");
  if (bytes.length > limits.bytes) throw new Unusable("TOO_LARGE", `This file has ${(bytes.length / 1e6).toFixed(1)} MB, and ${limits.bytes / 1e6} MB is the limit. Save a smaller copy.`);
  const format = formatOf(bytes);
  if (!format) throw new Unusable("NOT_AN_IMAGE", "This is not a picture of a kind that is read here. Save it as JPEG or PNG.");
  if (isCut(bytes, format)) throw new Unusable("TRUNCATED", "Its end is missing. Download or copy it again.");
  if (format === "jpeg" && isOddCmyk(bytes)) {
    throw new Unusable("UNSUPPORTED_FORMAT", "A JPEG in four colours with a profile for printing (CMYK), which browsers show in different ways. Save it as an ordinary JPEG.");
  }
  const odd = format === "avif" ? oddAvif(bytes) : "";
  if (odd) throw new Unusable("UNSUPPORTED_FORMAT", `An AVIF with ${odd}, which browsers show in different ways. Save it as PNG or JPEG.`);
  let picture;
  try {
    picture = format === "webp"
      ? turned(await createImageBitmap(file, { imageOrientation: "none" }), webpTurn(bytes))
      : await createImageBitmap(file);
  } catch {
    if (format === "heic") picture = await heif(bytes);
    else if (format === "avif") throw new Unusable("UNSUPPORTED_FORMAT", "This browser does not read AVIF. Save it as JPEG.");
    else throw new Unusable("DAMAGED", "The browser cannot make sense of its content. Save it again, or send another copy.");
  }
  checkSize(picture.width, picture.height, mostOf(bytes, format, limits), limits);
  return picture;
}

const FOR = [214, 84, 0], AGAINST = [0, 92, 184], DEEPEST = 0.75; // as of class_activation_map.py

/** The square, pale and grey, under the evidence (h, w) for one class; strongest: of the deepest
 * colour. Evidence between two places is interpolated. */
export function overlay(square, evidence, rows, columns, strongest) {
  const size = square.width, canvas = new OffscreenCanvas(size, size), pen = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  pen.drawImage(square, 0, 0);
  const image = pen.getImageData(0, 0, size, size), { data } = image;
  const clamp = (value, most) => Math.min(most, Math.max(0, value));
  for (let y = 0; y < size; y += 1) {
    const v = clamp(((y + 0.5) * rows) / size - 0.5, rows - 1), r = Math.min(rows - 1, Math.floor(v) + 1), dv = v - Math.floor(v);
    for (let x = 0; x < size; x += 1) {
      const u = clamp(((x + 0.5) * columns) / size - 0.5, columns - 1), c = Math.min(columns - 1, Math.floor(u) + 1), du = u - Math.floor(u);
      const at = (row, column) => evidence[Math.floor(row) * columns + Math.floor(column)];
      const here = (1 - dv) * ((1 - du) * at(v, u) + du * at(v, c)) + dv * ((1 - du) * at(r, u) + du * at(r, c));
      const depth = clamp(Math.abs(here) / Math.max(strongest, 1e-9), 1) * DEEPEST, colour = here > 0 ? FOR : AGAINST;
      const i = 4 * (y * size + x);
      const grey = 60 + 0.72 * (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
      for (let k = 0; k < 3; k += 1) data[i + k] = grey * (1 - depth) + colour[k] * depth;
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}
