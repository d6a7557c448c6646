/** The search page: a query (words, an image, or the id of a hit) in, a grid of hits out; without a query, the newest images.
 *  Words, ids and filters live in the URL. */

import { daysOf, filterOf, folderOf, inDays, inFolder, narrowed, testsOf, testsWithout, told as toldTest } from './filters.js';
import { treeOf } from './folders.js';
import { selectable } from './region.js';
import { NEITHER, outlineOf, outlinedBy } from './segment.js';

/** @typedef {{k: string, model: string, dedup: string, text?: string, id?: string, image?: File, region?: string, segment?: Segment, filter?: string}} Query `region` is around `segment`, `filter` is JSON */
/** @typedef {{mask: string, method: 'sam' | 'grabcut'}} Segment */
/** @typedef {import('./filters.js').Test} Test */
/** @typedef {{size?: number, modified?: string, taken?: string, camera?: string}} Facts of a file */
/** @typedef {{id: string, score?: number, path: string, thumbnail: string, metadata?: Record<string, unknown>, offline?: boolean, facts?: Facts, region?: number[]}} Hit without a score when browsing; `region` is the part that was found */
/** @typedef {{degraded: boolean, shards: {total: number, ok: number}}} Coverage */
/** @typedef {{hits: Hit[], coverage: Coverage, model?: string, took_ms?: {total?: number}, warnings?: string[], next?: string | null}} Answer `next` is the cursor of the next page */
/** @typedef {{query: Query, answer?: Answer}} Visit One entry of the browser's history. */

const TIMEOUT_MS = 30_000; // longer than the deadlines of the server, so that its error message comes first
const MAY_MOVE = /\.(gif|webp|a?png)$/i; // the preview of an animation stands still
const PAGE = 48; // images that are listed at once
const NEAR = 5; // images before the last of a page, from which the next one is loaded
const VISITS_KEPT = 50; // in memory: going back is instant, and finds an uploaded image again

/** @type {Record<string, any>} every element with an id */
const page = Object.fromEntries([...document.querySelectorAll('[id]')].map((element) => [element.id, element]));
const { form } = page.query;
const usual = options();
const visits = /** @type {Map<string, Visit>} */ (new Map());
let current = /** @type {Visit} */ ({ query: usual });
let shown = /** @type {Hit[]} */ ([]); // on the screen until the next answer comes
let cursor = 0; // index of the hit that Tab reaches; if Tab went through all hits, the footer would be 200 Tabs away
let inFlight = new AbortController();
let key = storedKey();
let isLoading = false; // the next page
const whenSeen = new IntersectionObserver(onSeen, { rootMargin: '50%' });
const whenNear = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && loadMore(), { rootMargin: '50%' });

function storedKey() {
  try {
    return sessionStorage.getItem('key');
  } catch {
    return null; // the browser has no storage: the user gives the key again after each reload
  }
}

function options() {
  return Object.fromEntries(['k', 'model', 'dedup', 'filter'].map((name) => [name, form.elements[name].value]));
}

/** @param {string} search of a URL @param {Query} rest for the options it lacks @returns {Query} */
function queryFrom(search, rest) {
  const params = new URLSearchParams(search);
  const isOffered = (name) => [...(form.elements[name].options ?? [])].some(({ value }) => value === params.get(name));
  const subject = ['id', 'text'].find((name) => params.get(name)?.trim());
  const part = subject === 'id' && params.has('region') ? ['region'] : [];
  const names = Object.keys(rest).filter(isOffered).concat(subject ?? [], part);
  const filter = params.has('filter') ? { filter: filterOf(testsOf(params.get('filter'))) } : {};
  return { ...rest, ...Object.fromEntries(names.map((name) => [name, params.get(name).trim()])), ...filter };
}

/** @param {Query} query @returns {string} `/` for an uploaded image, which no URL can hold */
function urlOf({ text, id, image, region, filter, k, model, dedup }) {
  if (image) return '/';
  const params = new URLSearchParams(text || id ? { ...(id ? { id } : { text }), k, model } : {});
  if (params.size && dedup !== usual.dedup) params.set('dedup', dedup);
  if (region) params.set('region', region);
  if (filter) params.set('filter', filter);
  return params.size ? `/?${params}` : '/';
}

/** @param {Query} query @param {boolean} isStep whether `back` shall lead to what is on the screen now */
function go(query, isStep = urlOf(query) !== urlOf(current.query) || ['image', 'region', 'filter'].some((name) => query[name] !== current.query[name])) {
  const key = `${performance.timeOrigin}/${performance.now()}`; // unique, also after a reload
  visits.set(key, { query });
  if (visits.size > VISITS_KEPT) visits.delete(visits.keys().next().value);
  history[isStep ? 'pushState' : 'replaceState']({ key }, '', urlOf(query));
  show(visits.get(key));
}

/** On load, and after a step through the history. */
function enter() {
  const visit = visits.get(history.state?.key);
  return visit ? show(visit) : go(queryFrom(location.search, usual), false);
}

/** @param {Visit} visit */
async function show(visit) {
  inFlight.abort();
  current = visit;
  page.viewer.close();
  fillForm(visit.query);
  const { signal } = (inFlight = new AbortController());
  if (visit.answer) return showAnswer(visit);
  if (viewOf(visit.query) === 'start') setView('start');
  page.results.ariaBusy = 'true';
  const outcome = await ask(visit.query, signal).catch((error) => error);
  if (signal.aborted) return; // a newer query has taken over
  if (outcome instanceof Error) return showError(outcome);
  visit.answer = outcome;
  showAnswer(visit);
  scrollTo(0, 0);
}

/** @param {Query} query @param {AbortSignal} signal @returns {Promise<Answer>} */
const ask = (query, signal) => (hasSubject(query) ? search(query, signal) : browse(query, signal));

/** @param {Query} query without a subject @param {AbortSignal} signal @param {string} [cursor] of the page @returns {Promise<Answer>} */
async function browse({ filter }, signal, cursor) {
  const params = new URLSearchParams({ limit: PAGE, ...(filter && { filter }), ...(cursor && { cursor }) });
  const { images, ...rest } = await get(`/v1/images?${params}`, signal);
  return { hits: images, ...rest };
}

/** @param {string} url @param {AbortSignal} signal @returns {Promise<any>} what the server answers in JSON */
async function get(url, signal) {
  const response = await call(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) });
  if (!response.ok) throw new Error(await reason(response));
  return response.json();
}

/** @param {Query} query @param {AbortSignal} signal @returns {Promise<Answer>} */
async function search({ image, segment, filter, ...fields }, signal) {
  const headers = image ? {} : { 'Content-Type': 'application/json' };
  const narrow = filter && { filter: image ? filter : JSON.parse(filter) };
  const body = image ? multipart({ ...fields, ...narrow, image }) : JSON.stringify({ ...fields, ...narrow, k: Number(fields.k), region: numbers(fields.region) });
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const response = await call('/v1/search', { method: 'POST', headers, body, signal: limit });
  if (!response.ok) throw new Error(await reason(response));
  return response.json();
}

/** Ask the server, with the key if there is one. @param {string} url @param {RequestInit} init @returns {Promise<Response>} */
async function call(url, init = {}) {
  const headers = key ? { ...init.headers, Authorization: `Bearer ${key}` } : init.headers;
  const response = await fetch(url, { ...init, headers });
  if (response.status !== 401 && !(key && response.status === 403)) return response;
  const message = response.status === 403 ? await reason(response) : key ? 'The server does not know this key.' : 'This server asks for a key.';
  throw Object.assign(new Error(message), { name: 'KeyError' });
}

/** Load a picture with the key, which an image element does not send. The last call for an image counts. @param {HTMLImageElement} image @param {string} url */
async function load(image, url) {
  image.wanted = url;
  const response = key && (await call(url).catch(() => undefined));
  const file = response?.ok && (await response.blob());
  if (image.wanted === url) image.src = file ? URL.createObjectURL(file) : url;
}

/** @param {Response} response a problem+json, or whatever a proxy sends @returns {Promise<string>} a sentence */
async function reason(response) {
  const { detail, title } = await response.json().catch(() => ({}));
  const sentence = (detail || title || `The server answered ${response.status}`).replace(/[^.!?]$/, '$&.');
  const wait_s = Number(response.headers.get('Retry-After'));
  return wait_s > 0 ? `${sentence} Try again in ${count(wait_s, 'second')}.` : sentence;
}

/** Replace the former view. @param {'start' | 'browse' | 'answer' | 'error' | 'key'} view @param {string} title @param {Hit[]} hits */
function setView(view, title = 'clip-search', hits = []) {
  page.viewer.close(); // it may have been opened on the hits of before
  const focusIsOnHits = page.results.contains(document.activeElement);
  document.body.dataset.view = view;
  document.title = title;
  shown = hits;
  page.results.ariaBusy = 'false';
  whenSeen.disconnect();
  page.results.replaceChildren(...hits.map(tile));
  for (const part of [page.status, page.banner, page['subject-image']]) part.replaceChildren();
  page.filters.replaceChildren(...testsOf(current.query.filter).map(filterChip));
  page.folders.open = page.dates.open = false;
  [page['first-day'].value, page['last-day'].value] = daysOf(current.query.filter);
  page.subject.hidden = page.further.hidden = true;
  setCursor(0);
  if (focusIsOnHits) focusHit(0);
}

/** Tell how many images there are. */
async function tellCollection() {
  const info = await call('/v1/info').then((response) => response.json()).catch((error) => error);
  const { images, shards, models = {} } = info;
  const named = Object.entries(models).map(([name, model]) => (model?.name ? `${name}: ${model.name}` : name));
  page.collection.textContent = [count(images, 'image'), count(shards, 'shard'), ...named].filter(Boolean).join(' · ');
}

/** Tell how many images pass the filter. @param {Query} query @param {AbortSignal} signal */
async function tellCount({ filter }, signal) {
  const counted = await get(`/v1/facets?${new URLSearchParams({ field: 'format', filter })}`, signal).catch(() => undefined);
  if (counted && !signal.aborted) page.status.textContent = count(counted.images, 'image');
}

/** @param {Visit} visit with its answer */
function showAnswer(visit) {
  if (hasSubject(visit.query)) showHits(visit);
  else showBrowsed(visit);
}

/** @param {Visit} visit with the pages that were listed so far */
function showBrowsed({ query, answer: { hits, coverage, next } }) {
  setView(viewOf(query), 'clip-search', hits);
  if (!query.filter) tellCollection();
  else if (hits.length) tellCount(query, inFlight.signal);
  else page.status.textContent = 'Nothing found';
  tellMissing(coverage);
  offerMore(next);
}

/** @param {string | null} next whether there is a further page */
function offerMore(next) {
  page.further.hidden = !next;
  whenNear.unobserve(page.further);
  if (next) whenNear.observe(page.further); // which tells at once if it is near
}

/** Append the next page. */
async function loadMore() {
  const { query, answer } = current;
  if (!answer?.next || isLoading) return;
  const { signal } = inFlight;
  isLoading = true;
  const further = await browse(query, signal, answer.next).catch((error) => error);
  isLoading = false;
  if (signal.aborted) return; // another query has taken over
  if (further instanceof Error) return warn([told(further)]); // the button tries again
  const coverage = answer.coverage.degraded ? answer.coverage : further.coverage;
  current.answer = { ...further, coverage, hits: [...answer.hits, ...further.hits] };
  shown = current.answer.hits;
  page.results.append(...further.hits.map(tile));
  setCursor(cursor);
  tellMissing(coverage); // in place of what a try before has told
  offerMore(further.next);
}

/** @param {Visit} visit with the answer to its search */
function showHits({ query, answer: { hits, coverage, model, took_ms, warnings = [] } }) {
  const likeThis = `like this ${query.region ? 'part' : 'one'}`;
  const focusIsOnSubject = page.subject.contains(document.activeElement);
  setView('answer', `${query.text || `Images ${likeThis}`} – clip-search`, hits);
  const subject = query.text ? [' for ', create('bdi', `“${query.text}”`)] : [` ${likeThis}`];
  if (!query.text) showSubject(query, focusIsOnSubject);
  const facts = [model, took_ms?.total >= 0 && `${took_ms.total.toFixed()} ms`].filter(Boolean).join(', ');
  page.status.append(count(hits.length, 'image') || 'Nothing found', ...subject, ' ', create('small', facts));
  tellMissing(coverage, warnings);
}

/** @param {Coverage} coverage @param {string[]} warnings */
function tellMissing(coverage, warnings = []) {
  warn(coverage?.degraded ? [`Answers from ${coverage.shards.ok} of ${coverage.shards.total} shards.`, ...warnings] : warnings);
}

/** A button that takes a test of the filter away. @param {Test} test @param {number} index @param {Test[]} tests @returns {HTMLElement} */
function filterChip(test, index, tests) {
  const what = toldTest(test);
  const chip = page['filter-chip'].content.firstElementChild.cloneNode(true);
  const [button] = chip.children;
  button.firstElementChild.textContent = what;
  button.ariaLabel = `Remove the filter ${what}`;
  button.addEventListener('click', () => go({ ...current.query, filter: filterOf(tests.toSpliced(index, 1)) }));
  return chip;
}

/** A value in the viewer: a link to the hits that pass a test of it, too. @param {string} name @param {unknown} value @param {Test} [test]
 * @returns {HTMLElement} */
function factValue(name, value, test = { field: name, eq: value }) {
  const shown = plain(value);
  if (value === null || shown.length > 200) return create('dd', shown);
  const filter = narrowed(current.query.filter, test);
  const link = Object.assign(create('a', shown), { href: urlOf({ ...current.query, filter }), title: `Only images with this ${name}` });
  link.dataset.filter = filter;
  const item = create('dd', '');
  item.append(link);
  return item;
}

/** What the viewer tells of a file, beside its table. @param {Hit} hit @returns {[string, HTMLElement][]} */
function fileFacts({ path, facts: { size, modified, taken, camera } = {}, metadata = {} }) {
  const folder = path.split('/').slice(0, -1).join('/');
  const time = (name, moment) => {
    const day = moment.slice(0, 10);
    return [name, factValue('day', moment.slice(0, 16).replace('T', ' '), inDays(day, day))];
  };
  const known = [
    folder && ['folder', factValue('folder', folder)],
    taken ? time('taken', taken) : modified && time('modified', modified),
    camera && ['camera', factValue('camera', camera)],
    size && ['size', create('dd', inUnits(size))],
  ];
  return known.filter((fact) => fact && !(fact[0] in metadata));
}

/** Show the picture that is searched for, with the part that counts. @param {Query} query @param {boolean} hasFocus */
function showSubject(query, hasFocus) {
  const frame = picture(query, 'The picture searched for');
  const [image] = frame.children;
  image.addEventListener('load', () => {
    if (!frame.isConnected) return; // another answer has come
    page.subject.hidden = false; // until now, as browsers cannot show each file that is searched by
    if (hasFocus) frame.focus({ preventScroll: true });
  });
  page['subject-image'].append(frame);
  page.whole.hidden = !query.region;
  page['outlined-by'].textContent = outlinedBy(query.segment);
  if (query.id) load(image, `${imageUrl(query.id)}/preview`);
  else image.src = URL.createObjectURL(query.image);
}

/** A frame for a picture, to search by a part of it. @param {Query} query with id or image @param {string} alt @returns {HTMLElement} */
function picture({ id, image, region, segment }, alt) {
  const frame = page.picture.content.firstElementChild.cloneNode(true);
  const [shown] = frame.children;
  shown.alt = alt;
  const fit = () => {
    frame.style.setProperty('--ratio', shown.naturalWidth / shown.naturalHeight);
    URL.revokeObjectURL(shown.src);
  };
  shown.addEventListener('load', fit, { once: true });
  const subject = id ? { id } : { image };
  const search = (part, segment) => go({ ...options(), ...subject, region: part.map((number) => Number(number.toFixed(4))).join(), segment });
  selectable(frame, numbers(region), (part) => search(part), (point) => searchBySegment(frame, subject, point, search));
  if (segment) outlineOf(segment.mask).then((outline) => frame.append(outline));
  return frame;
}

/** Outline what is under a click on a picture, and search by it. @param {HTMLElement} frame @param {Query} subject with id or image
 * @param {number[]} point @param {(part: number[], segment: Segment) => void} search */
async function searchBySegment(frame, { id, image }, point, search) {
  const asked = [[...point, 1]];
  const visit = current;
  const note = frame.querySelector('.note');
  note.textContent = 'Looking for what is there…';
  frame.querySelector('.outline')?.remove();
  frame.asked = asked;
  try {
    const headers = image ? {} : { 'Content-Type': 'application/json' };
    const body = image ? multipart({ points: JSON.stringify(asked), image }) : JSON.stringify({ points: asked, id });
    const response = await call('/v1/segment', { method: 'POST', headers, body, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(response.status === 501 ? NEITHER : await reason(response));
    const { box, mask, method } = await response.json();
    const outline = await outlineOf(mask);
    if (frame.asked !== asked || current !== visit || !frame.checkVisibility()) return; // a newer click or query has taken over, or the viewer is closed
    frame.append(outline);
    search(box, { mask, method });
  } catch (error) {
    if (frame.asked === asked) note.textContent = told(error);
  }
}

/** @param {Error} error */
function showError({ name, message }) {
  if (name === 'KeyError') return showKeyForm(message);
  setView('error');
  page.status.textContent = told({ name, message });
}

/** @param {Error} error @returns {string} what to tell of it */
function told({ name, message }) {
  const known = { Error: message, KeyError: message, TimeoutError: 'The server takes too long.', SyntaxError: 'The server sent no JSON.' };
  return known[name] ?? 'The server cannot be reached.';
}

/** @param {string} message why a key is wanted */
function showKeyForm(message) {
  setView('key');
  page.status.textContent = message;
  page.key.focus();
}

/** @param {Query} query */
function fillForm({ text, id, image, region, segment, ...rest }) {
  for (const [name, value] of Object.entries(rest)) form.elements[name].value = value;
  page.query.value = text ?? '';
  page.chip.hidden = !id && !image;
  page['chip-name'].textContent = image?.name ?? 'like this';
  page['chip-image'].wanted = null; // what is still loading for it comes too late
  page['chip-image'].src = image ? URL.createObjectURL(image) : '';
  if (id) load(page['chip-image'], `${imageUrl(id)}/thumbnail`);
}

/** @param {Hit} hit @returns {HTMLLIElement} */
function tile({ id, path, score, thumbnail, offline, region, metadata, facts }) {
  const item = page.hit.content.firstElementChild.cloneNode(true);
  const [open, more, name, cosine] = item.children;
  Object.assign(item.dataset, { id, path });
  open.href = imageUrl(id);
  open.firstElementChild.alt = path;
  showThumbnail(open.firstElementChild, thumbnail);
  Object.assign(more, { href: moreUrl(id), ariaLabel: `More like ${path}` });
  name.textContent = name.title = path.split('/').pop();
  cosine.textContent = score?.toFixed(3) ?? whenOf(metadata, facts).slice(0, 10);
  cosine.title = score === undefined ? 'When it was taken, else changed' : 'Cosine similarity';
  if (region) cosine.prepend(create('small', 'a part'), ' ');
  if (offline) cosine.prepend(create('small', 'offline'), ' ');
  return item;
}

/** @param {Record<string, unknown>} metadata @param {Facts} facts @returns {string} the time that images are listed by, as in search/fields.py */
function whenOf(metadata, facts) {
  const { when, taken, modified } = { ...facts, ...metadata };
  return [when, taken, modified].find((time) => time && typeof time === 'string') ?? '';
}

/** @param {HTMLImageElement} image @param {string} url */
function showThumbnail(image, url) {
  if (!key) return (image.src = url);
  image.dataset.src = url;
  image.addEventListener('load', () => URL.revokeObjectURL(image.src));
  whenSeen.observe(image);
}

/** Fetch thumbnails with a key when they come into view. Without a key, `loading=lazy` does this. */
function onSeen(entries) {
  for (const { target } of entries.filter(({ isIntersecting }) => isIntersecting)) {
    whenSeen.unobserve(target);
    load(target, target.dataset.src);
  }
}

/** @param {number} index of a hit */
function openViewer(index) {
  const hit = shown[index];
  const { id, path, score, metadata = {}, offline, region } = hit;
  const absent = offline && { offline: 'The file was absent when the index was built.' };
  const plainFacts = Object.entries({ ...(score !== undefined && { score: score.toFixed(3) }), ...absent });
  const facts = [
    ...plainFacts.map(([name, value]) => [name, create('dd', value)]),
    ...fileFacts(hit),
    ...Object.entries(metadata).map(([name, value]) => [name, factValue(name, value)]),
  ];
  page.viewer.close();
  focusHit(index); // the focus returns here when the viewer closes
  const frame = picture({ id, region: region?.join() }, path);
  const [image] = frame.children;
  page['viewer-image'].replaceChildren(frame);
  page['viewer-path'].textContent = path;
  page['viewer-metadata'].replaceChildren(...facts.flatMap(([name, value]) => [create('dt', name), value]));
  page['viewer-more'].href = moreUrl(id);
  URL.revokeObjectURL(page['viewer-original'].href);
  page['viewer-original'].href = imageUrl(id);
  load(image, `${imageUrl(id)}/preview`).then(() => (key || MAY_MOVE.test(path)) && loadOriginal(image, hit));
  page.viewer.showModal();
  if (index > shown.length - NEAR) loadMore();
}

/** Load a file itself: what moves is shown moving, and with a key the link needs the file. @param {HTMLImageElement} image @param {Hit} hit */
async function loadOriginal(image, { id, path }) {
  const original = new Image();
  await load(original, imageUrl(id));
  if (!image.isConnected) return URL.revokeObjectURL(original.src); // the viewer shows another picture
  page['viewer-original'].href = original.src;
  if (MAY_MOVE.test(path)) image.src = original.src;
}

/** @param {number} index of a hit */
function setCursor(index) {
  cursor = index;
  page.results.querySelectorAll('a').forEach((link, at) => (link.tabIndex = at >> 1 === index ? 0 : -1)); // two links a hit
}

/** @param {string} filter @returns {Promise<{values: {value: string, count: number}[], more: number}>} the folders with the most images that pass it */
async function foldersOf(filter) {
  const params = new URLSearchParams({ field: 'folder', ...(filter && { filter }) });
  return (await get(`/v1/facets?${params}`, inFlight.signal)).facets.folder;
}

/** List the folders of the images that pass the other tests, and all in the one that is chosen. */
async function showFolders() {
  if (!page.folders.open) return;
  const { filter } = current.query;
  const others = filterOf(testsWithout(filter, 'folder'));
  const choose = (folder) => narrowBy('folder', folder === folderOf(filter) ? undefined : inFolder(folder));
  page['tree-note'].textContent = '';
  try {
    const [all, chosen = all] = await Promise.all([others, ...(folderOf(filter) ? [filter] : [])].map(foldersOf));
    const values = [...new Map([...all.values, ...chosen.values].map((folder) => [folder.value, folder])).values()];
    const more = all.more + all.values.length - values.length;
    page.tree.replaceChildren(...treeOf(values, folderOf(filter), choose));
    if (more) page['tree-note'].textContent = `Neither listed nor counted: ${count(more, 'folder')} with fewer images. Choose a folder to see those in it.`;
  } catch (error) {
    if (error.name !== 'AbortError') page['tree-note'].textContent = told(error);
  }
}

/** Search or browse with another test of a field. @param {string} field @param {Test} [test] */
const narrowBy = (field, test) => go({ ...typed(), filter: narrowed(current.query.filter, test, field) });

const multipart = (fields) => Object.entries(fields).reduce((data, field) => (data.set(...field), data), new FormData());
const create = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
const plain = (value) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
const count = (n, noun) => (n > 0 ? `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}` : '');
const warn = (sentences) => page.banner.replaceChildren(...sentences.map((sentence) => create('p', sentence)));
const inUnits = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const numbers = (region) => region?.split(',').map(Number);
const imageUrl = (id) => `/v1/images/${encodeURIComponent(id)}`;
const moreUrl = (id) => urlOf({ ...options(), id });
const viewOf = (query) => (hasSubject(query) ? 'answer' : query.filter ? 'browse' : 'start');
const hasSubject = ({ text, id, image }) => Boolean(text || id || image);
const searchByOptions = () => hasSubject(current.query) && form.requestSubmit();
const searchAgain = () => hasSubject(current.query) && go({ ...current.query, ...options() });
const indexOf = (node) => [...page.results.children].indexOf(node.closest('li'));
const focusHit = (index) => page.results.children[index]?.querySelector('.open').focus();

function onSubmit(event) {
  event.preventDefault();
  const text = page.query.value.trim();
  if (matchMedia('(pointer: coarse)').matches) page.query.blur(); // else the keyboard of a phone hides the answer
  const { id, image } = current.query;
  return text || !(id || image) ? go({ ...options(), ...(text && { text }) }) : searchAgain();
}

/** @returns {Query} with words that were typed and not yet searched for */
function typed() {
  const text = page.query.value.trim();
  return text && text !== current.query.text ? { ...options(), text } : current.query;
}

function onDates(event) {
  event.preventDefault();
  narrowBy('when', inDays(page['first-day'].value, page['last-day'].value));
}

function onKeySubmit(event) {
  event.preventDefault();
  key = page.key.value;
  try {
    sessionStorage.setItem('key', key);
  } catch {} // see storedKey
  page.key.value = '';
  show(current);
}

function searchByWhole() {
  const { region, segment, ...whole } = current.query;
  go(whole);
}

/** @param {FileList} files chosen, dropped or pasted @returns {boolean} whether there were any */
function searchByFile(files) {
  const image = [...files].find(({ type }) => !type || type.startsWith('image/')); // without a type, the server looks at the content
  if (image) go({ ...options(), image });
  else if (files.length) warn(['That is not an image.']);
  return files.length > 0;
}

/** Open hits in the viewer, and links to `/` as queries. With a modifier key, both are ordinary links. @param {MouseEvent} event */
function onClick(event) {
  for (const menu of [page.options, page.folders, page.dates]) if (!menu.contains(event.target)) menu.open = false;
  if (event.target === page.viewer) page.viewer.close();
  const link = event.target.closest('a');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const isQuery = link.pathname === '/' && link.origin === location.origin;
  const isHit = link.matches('.open');
  if (isQuery || isHit) event.preventDefault();
  if (link.dataset.filter) go({ ...current.query, filter: link.dataset.filter }); // also for an image, which no URL holds
  else if (link.matches('.more')) go({ ...options(), id: shown[indexOf(link)].id });
  else if (isQuery) go(queryFrom(link.search, link.matches('.brand') ? { ...options(), filter: '' } : options()));
  if (isHit) openViewer(indexOf(link));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === 'Escape') closeMenus();
  if (event.key === '/' && !event.target.matches('input, select')) page.query.select();
  else if (event.key === 'ArrowDown' && event.target === page.query) focusHit(cursor);
  else if (!(page.viewer.open || page.results.contains(event.target)) || !onHitKey(event.key)) return;
  event.preventDefault();
}

/** @param {string} key @returns {boolean} whether it means something on a hit */
function onHitKey(key) {
  const columns = page.viewer.open ? NaN : getComputedStyle(page.results).gridTemplateColumns.split(' ').length;
  const row = { ArrowLeft: cursor - 1, ArrowRight: cursor + 1, Home: 0, End: shown.length - 1 };
  const moves = { ...row, ArrowUp: cursor - columns, ArrowDown: cursor + columns };
  if (key === 'm') go({ ...options(), id: shown[cursor].id });
  else if (moves[key] in shown) (page.viewer.open ? openViewer : focusHit)(moves[key]);
  return key === 'm' || key in moves;
}

/** Close what is open, and give the focus back. */
function closeMenus() {
  for (const menu of [page.options, page.folders, page.dates]) {
    if (menu.open && menu.contains(document.activeElement)) menu.firstElementChild.focus();
    menu.open = false;
  }
}

function onDrag(event) {
  if (!event.dataTransfer.types.includes('Files')) return;
  event.preventDefault();
  const hasLeft = event.type === 'dragleave' && !event.relatedTarget; // no related target: the pointer left the window
  document.body.classList.toggle('dropping', event.type !== 'drop' && !hasLeft);
  if (event.type === 'drop') searchByFile(event.dataTransfer.files);
}

form.addEventListener('submit', onSubmit);
page['key-form'].addEventListener('submit', onKeySubmit);
page.options.addEventListener('change', searchByOptions);
page['image-input'].addEventListener('change', ({ target }) => searchByFile(target.files) && (target.value = ''));
page.folders.addEventListener('toggle', showFolders);
page['date-form'].addEventListener('submit', onDates);
page.further.addEventListener('click', loadMore);
page.whole.addEventListener('click', searchByWhole);
page['chip-image'].addEventListener('load', ({ target }) => URL.revokeObjectURL(target.src)); // not before: the console would tell of it
page['chip-remove'].addEventListener('click', () => (go(options()), page.query.focus()));
page.results.addEventListener('focusin', ({ target }) => setCursor(indexOf(target)));
for (const type of ['dragover', 'dragleave', 'drop']) addEventListener(type, onDrag);
addEventListener('paste', (event) => searchByFile(event.clipboardData.files) && event.preventDefault());
addEventListener('click', onClick);
addEventListener('keydown', onKey);
addEventListener('popstate', enter);
enter();
