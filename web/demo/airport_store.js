// @ts-check
/**
 * Where the import puts the airports: an object store in IndexedDB that has nothing to do with
 * durably. Storing an airport again replaces it, so a step that is repeated changes nothing.
 *
 * Airports cross between Python and JavaScript as JSON text, which is much faster than proxies.
 */

const DATABASE = "durably-demo-airports";
const STORE = "airports";

/**
 * @typedef {object} Airport
 * @property {string} iata
 * @property {string} name
 * @property {string} city
 * @property {string} state
 * @property {number} latitude
 * @property {number} longitude
 */

/** @type {Promise<IDBDatabase> | undefined} */
let opened;

/**
 * Insert or replace airports; resolves when the transaction is complete.
 * @param {string} text a JSON array of airports
 */
export async function upsert(text) {
  /** @type {Airport[]} */
  const airports = JSON.parse(text);
  await change((store) => airports.forEach((airport) => store.put(airport)));
}

/**
 * All airports, as a JSON array.
 * @returns {Promise<string>}
 */
export async function read_all() {
  const store = (await open()).transaction(STORE).objectStore(STORE);
  return new Promise((resolve, reject) => {
    const request = store.getAll();
    request.onsuccess = () => resolve(JSON.stringify(request.result));
    request.onerror = () => reject(request.error);
  });
}

/** Forget all airports. */
export async function clear() {
  await change((store) => store.clear());
}

/**
 * @param {(store: IDBObjectStore) => void} make
 * @returns {Promise<void>}
 */
async function change(make) {
  const transaction = (await open()).transaction(STORE, "readwrite");
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    make(transaction.objectStore(STORE));
  });
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "iata" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}
