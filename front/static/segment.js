/** The outline of what was clicked on, to lay over its picture. */

const LINES = 300; // the line is one part in so many of the picture's longer side
const METHODS = { sam: 'Segment Anything', grabcut: 'GrabCut, which goes by colours' };
export const NEITHER = 'This server has neither Segment Anything nor GrabCut to find what is there. Drag to search by a part.';

/** @param {{method: string} | undefined} segment @returns {string} a sentence on what drew its outline; empty without one */
export const outlinedBy = (segment) => (segment ? `Outlined by ${METHODS[segment.method]}.` : '');

/** @param {string} mask a PNG in base64, white inside @returns {Promise<HTMLCanvasElement>} a white line around, in the shape of the picture */
export async function outlineOf(mask) {
  const image = new Image();
  image.src = `data:image/png;base64,${mask}`;
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = Object.assign(document.createElement('canvas'), { className: 'outline', width, height });
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  const isInside = pixels.data.filter((_, place) => place % 4 === 0);
  const line = Math.ceil(Math.max(width, height) / LINES);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const place = y * width + x;
      const isEdge = x < line || y < line || x >= width - line || y >= height - line;
      const isLine = isInside[place] && (isEdge || ![-line, line, -line * width, line * width].every((by) => isInside[place + by]));
      pixels.data.set([255, 255, 255, isLine ? 255 : 0], 4 * place);
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
