/** The filter of a query: tests of fields, all of which an image must pass. */

/** @typedef {{field?: string, eq?: unknown, gte?: string, lt?: string, prefix?: string, or?: Test[]}} Test as the API has it */

/** @param {string} filter in JSON @returns {Test[]} */
export function testsOf(filter) {
  try {
    const tree = JSON.parse(filter);
    return Array.isArray(tree.and) && !tree.and.includes(null) ? tree.and : [tree]; // what is no filter is the server's to refuse
  } catch {
    return []; // no filter, or a URL that was cut
  }
}

/** @param {Test[]} tests @returns {string} in JSON, empty for no tests */
export const filterOf = (tests) => (tests.length ? JSON.stringify(tests.length > 1 ? { and: tests } : tests[0]) : '');

/** @param {string} filter in JSON @param {string} field @returns {Test[]} the tests of other fields */
export const testsWithout = (filter, field) => testsOf(filter).filter((test) => fieldOf(test) !== field);

/** @param {string} filter in JSON @param {Test} [test] in place of those of its field @param {string} field @returns {string} in JSON */
export const narrowed = (filter, test, field = fieldOf(test)) => filterOf([...testsWithout(filter, field), ...(test ? [test] : [])]);

/** @param {string} folder @returns {Test} for images in it, and in the folders below */
export const inFolder = (folder) => ({ or: [{ field: 'folder', eq: folder }, { field: 'folder', prefix: `${folder}/` }] });

/** @param {string} filter in JSON @returns {string | undefined} the folder that images are in */
export const folderOf = (filter) => testsOf(filter).map(chosenFolder).find((folder) => folder !== undefined);

/** @param {string} first day, or empty @param {string} last day, or empty @returns {Test | undefined} for images of these days */
export const inDays = (first, last) => (first || last ? { field: 'when', ...(first && { gte: first }), ...(last && { lt: dayFrom(last, 1) }) } : undefined);

/** @param {string} filter in JSON @returns {[string, string]} its first and its last day, empty without */
export const daysOf = (filter) => testsOf(filter).map(chosenDays).find(Boolean) ?? ['', ''];

/** @param {Test} test @returns {string} what it says */
export function told(test) {
  const folder = chosenFolder(test);
  const [first, last] = chosenDays(test) ?? [];
  if (folder !== undefined) return `folder: ${folder || '.'}`;
  if (first && last) return first === last ? first : `${first} to ${last}`;
  if (first || last) return first ? `from ${first}` : `until ${last}`;
  return 'eq' in Object(test) ? `${test.field}: ${test.eq}` : JSON.stringify(test);
}

const fieldOf = (test) => test.field ?? test.or?.[0]?.field;

function chosenFolder(test) {
  const folder = test.or?.[0]?.eq;
  return JSON.stringify(test) === JSON.stringify(inFolder(folder)) ? folder : undefined;
}

function chosenDays({ field, gte = '', lt = '', ...others }) {
  const areDays = [gte, lt].every((bound) => bound === '' || isDay(bound));
  return field === 'when' && areDays && !Object.keys(others).length ? [gte, lt && dayFrom(lt, -1)] : undefined;
}

const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text));
const dayFrom = (day, count) => new Date(Date.parse(day) + count * 86_400_000).toISOString().slice(0, 10);
