/** The choice of a part of a picture, or of a point of it: with the mouse, a finger or the keyboard. */

/** @typedef {number[]} Region x0, y0, x1, y1 in parts of 1, from the top left corner */

const LEAST_PX = 8; // a smaller drag is a click, or with one long side an accident
const MAX_ASPECT = 19; // the server's limit is 20, after it has rounded to pixels
const STEP = 0.02; // of a side, for a press of an arrow key
const MIDDLE = [0.25, 0.25, 0.75, 0.75];
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

/** Show a rectangle on a picture, and let it be drawn. @param {HTMLElement} frame just around the picture, with its `.part`
 * @param {Region} [chosen] @param {(region: Region) => void} onChoice called as the pointer is let go, or with Enter
 * @param {(point: number[]) => void} onPoint called with x and y of a click, in parts of 1 */
export function selectable(frame, chosen, onChoice, onPoint) {
  let region = chosen;
  let start = null; // of the drag under way

  function draw(next) {
    region = next;
    const part = frame.querySelector('.part');
    part.hidden = !region;
    if (!region) return;
    const [left, top, right, bottom] = region.map((number) => 100 * number);
    Object.assign(part.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  }

  function at({ clientX, clientY }) {
    const box = frame.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height].map((number) => Math.min(1, Math.max(0, number)));
  }

  const sidesOf = ([x0, y0, x1, y1]) => [(x1 - x0) * frame.clientWidth, (y1 - y0) * frame.clientHeight];

  function isChoice(drawn) {
    const sides = sidesOf(drawn);
    return Math.min(...sides) >= LEAST_PX && Math.max(...sides) <= MAX_ASPECT * Math.min(...sides);
  }

  function onPress(event) {
    if (!event.isPrimary || event.button) return;
    event.preventDefault(); // else the browser drags the picture away
    frame.focus({ preventScroll: true });
    frame.setPointerCapture(event.pointerId);
    start = at(event);
  }

  function onMove(event) {
    if (start && event.isPrimary) draw(between(start, at(event)));
  }

  function onRelease(event) {
    if (!start || !event.isPrimary) return;
    const drawn = between(start, at(event));
    const point = start;
    start = null;
    draw(isChoice(drawn) ? drawn : chosen);
    if (isChoice(drawn)) onChoice(drawn);
    else if (Math.max(...sidesOf(drawn)) < LEAST_PX) onPoint(point);
  }

  function onCancel() {
    start = null;
    draw(chosen);
  }

  function onKey(event) {
    const { key, shiftKey } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === 'Enter') region && isChoice(region) ? onChoice(region) : draw(MIDDLE);
    else if (region && ARROWS[key]) draw((shiftKey ? resized : moved)(region, ARROWS[key]));
    else if (region && key === 'Escape' && region !== chosen) draw(chosen);
    else return;
    event.preventDefault();
    event.stopPropagation(); // in the viewer, arrows otherwise lead to the next picture
  }

  for (const [type, listener] of Object.entries({ pointerdown: onPress, pointermove: onMove, pointerup: onRelease, pointercancel: onCancel, keydown: onKey })) {
    frame.addEventListener(type, listener);
  }
  draw(chosen);
}

const between = ([x0, y0], [x1, y1]) => [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];

/** @param {Region} region @param {number[]} by @returns {Region} of the same size, inside the picture */
function moved([x0, y0, x1, y1], [x, y]) {
  const dx = Math.min(1 - x1, Math.max(-x0, x));
  const dy = Math.min(1 - y1, Math.max(-y0, y));
  return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
}

/** @param {Region} region @param {number[]} by @returns {Region} with another bottom right corner */
function resized([x0, y0, x1, y1], [x, y]) {
  return [x0, y0, Math.min(1, Math.max(x0 + STEP, x1 + x)), Math.min(1, Math.max(y0 + STEP, y1 + y))];
}
