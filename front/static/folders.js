/** The tree of the folders that images are in. */

/** @typedef {{path: string, name: string, count: number, below: Map<string, Folder>}} Folder with the images of all folders below */

/**
 * @param {{value: string, count: number}[]} values paths of folders, each with its images @param {string | undefined} chosen path
 * @param {(path: string) => void} choose @returns {HTMLLIElement[]} those at the top, in order
 */
export const treeOf = (values, chosen, choose) => items(rooted(values), chosen, choose);

function rooted(values) {
  const top = { below: new Map() };
  for (const { value, count } of values) {
    let folder = top;
    const names = value.split('/');
    for (const [depth, name] of names.entries()) {
      const path = names.slice(0, depth + 1).join('/');
      if (!folder.below.has(name)) folder.below.set(name, { path, name: name || '.', count: 0, below: new Map() });
      folder = folder.below.get(name);
      folder.count += count;
    }
  }
  return top;
}

/** @param {Folder} folder */
function items({ below }, chosen, choose) {
  const order = new Intl.Collator(undefined, { numeric: true });
  const folders = [...below.values()].sort((one, other) => order.compare(one.name, other.name));
  return folders.map((folder) => item(folder, chosen, choose, folders.length === 1));
}

/** @param {Folder} folder @param {boolean} isAlone in its folder: then it is opened */
function item(folder, chosen, choose, isAlone) {
  const isOnWay = isAlone || `${chosen ?? ''}/`.startsWith(`${folder.path}/`);
  const entry = document.createElement('li');
  const name = button('folder', () => choose(folder.path));
  name.ariaPressed = String(folder.path === chosen);
  name.append(Object.assign(document.createElement('bdi'), { textContent: folder.name }));
  name.append(Object.assign(document.createElement('small'), { textContent: folder.count.toLocaleString('en') }));
  if (!folder.below.size) {
    entry.append(name);
    return entry;
  }
  const list = document.createElement('ul');
  const fold = button('fold', () => turn(list.hidden));
  const turn = (isOpen) => {
    list.hidden = !isOpen;
    fold.ariaExpanded = String(isOpen);
    if (isOpen && !list.childElementCount) list.append(...items(folder, chosen, choose));
  };
  fold.ariaLabel = `Folders in ${folder.path}`;
  turn(isOnWay);
  entry.append(fold, name, list);
  return entry;
}

function button(className, onClick) {
  const made = Object.assign(document.createElement('button'), { type: 'button', className });
  made.addEventListener('click', onClick);
  return made;
}
