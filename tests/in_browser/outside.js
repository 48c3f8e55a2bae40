// @ts-check
/**
 * What a browser, its user and other pages do to a database, done on purpose; and a way to look at
 * what is stored that shares no code with the library.
 */

const database = IDBDatabase.prototype, factory = IDBFactory.prototype;
const stores = IDBObjectStore.prototype, transactions = IDBTransaction.prototype;
const original = {
  add: stores.add, close: database.close, commit: transactions.commit, open: factory.open,
};

/** @type {Set<IDBDatabase>} */
const connections = new Set();
/** @type {WeakMap<IDBTransaction, IDBRequest>} */
const requests = new WeakMap();
/** @type {Map<string, string[]>} */
const planned = new Map();

factory.open = function open(name, version) {
  const request = original.open.call(this, name, version);
  if (name.startsWith("durably:") && version !== undefined) {
    request.addEventListener("success", () => connections.add(request.result));
  }
  return request;
};

database.close = function close() {
  connections.delete(this);
  original.close.call(this);
};

stores.add = function add(value, key) {
  const request = original.add.call(this, value, key);
  requests.set(this.transaction, request);
  return request;
};

transactions.commit = function commit() {
  const fault = this.objectStoreNames.length === 1 && planned.get(this.objectStoreNames[0])?.shift();
  if (!fault || fault === "none") {
    original.commit.call(this);
  } else if (fault === "lands unseen") {
    // As when the browser loses its storage process at the wrong moment.
    const { onabort } = this;
    this.oncomplete = () => onabort?.call(this, new Event("abort"));
    original.commit.call(this);
  } else {
    // The request succeeds before the transaction aborts, as it does at Chromium's quota.
    const error = new DOMException("by the test", fault);
    Object.defineProperty(this, "error", { get: () => error });
    requests.get(this)?.addEventListener("success", () => this.abort());
  }
};

/**
 * Let the next transactions that are committed on one store fail: with the name of an error; with
 * "lands unseen", where it is stored and yet reported as aborted; or with "none", to let one pass.
 * @param {string} store
 * @param {...string} faults
 */
export function plan(store, ...faults) {
  planned.set(store, [...planned.get(store) ?? [], ...faults]);
}

export function endFaults() {
  planned.clear();
}

export function openConnections() {
  return connections.size;
}

/**
 * Close them behind the library's back, as a browser does that is short of something.
 * @param {boolean} [isTold] with the event that goes with it
 */
export function closeConnections(isTold) {
  for (const connection of [...connections]) {
    connection.close();
    if (isTold) connection.dispatchEvent(new Event("close"));
  }
}

/**
 * @param {string} name
 * @returns {Promise<IDBDatabase>}
 */
function open(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(`durably:${name}`);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @template T
 * @param {string} name
 * @param {IDBTransactionMode} mode
 * @param {(log: IDBObjectStore, chunks: IDBObjectStore) => () => T} work
 * @returns {Promise<T>}
 */
async function inStores(name, mode, work) {
  const db = await open(name);
  try {
    const transaction = db.transaction(["log", "chunks"], mode);
    const answer = work(transaction.objectStore("log"), transaction.objectStore("chunks"));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    return answer();
  } finally {
    db.close();
  }
}

/**
 * Everything that is stored, as [key, bytes] of the log and of the chunks.
 * @param {string} name
 */
export function stored(name) {
  return inStores(name, "readonly", (...stores) => {
    const requests = stores.map((store) => [store.getAllKeys(), store.getAll()]);
    return () => requests.map(([keys, values]) =>
      keys.result.map((key, i) => [key, new Uint8Array(values.result[i])]));
  });
}

/**
 * Something that is another after each change of the log. It costs next to nothing, as against
 * looking at what is stored.
 * @param {string} name
 */
export function logState(name) {
  return inStores(name, "readonly", (log) => {
    const count = log.count(), last = log.openKeyCursor(null, "prev");
    return () => `${count.result} records, the last one at ${last.result?.key}`;
  });
}

/**
 * Alter one byte of a stored record or chunk.
 * @param {string} name
 * @param {"log" | "chunks"} store
 * @param {IDBValidKey} key
 */
export function alter(name, store, key) {
  return inStores(name, "readwrite", (log, chunks) => {
    const target = store === "log" ? log : chunks;
    const request = target.get(key);
    request.onsuccess = () => {
      const bytes = new Uint8Array(request.result);
      bytes[bytes.length - 100] ^= 1;
      target.put(bytes.buffer, key);
    };
    return () => undefined;
  });
}

/**
 * Make of the database what a newer version of the library could: another store, other values.
 * @param {string} name
 * @returns {Promise<void>}
 */
export function upgrade(name) {
  return new Promise((resolve, reject) => {
    const request = original.open.call(indexedDB, `durably:${name}`, 2);
    request.onupgradeneeded = () => {
      const more = request.result.createObjectStore("more");
      more.put({ text: "new" }, [1, "a"]);
      more.put(new Uint8Array([0, 1, 2, 3]).subarray(1), [2, "b"]);
      more.put(undefined, [3, "c"]);
    };
    request.onsuccess = () => {
      request.result.close();
      resolve();
    };
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<string[]>} the names of all durably databases that there are */
export async function names() {
  const all = (await indexedDB.databases()).map(({ name }) => name ?? "");
  return all.filter((name) => name.startsWith("durably:")).map((name) => name.slice(8));
}

/**
 * Delete the database, as a user who clears the site's data.
 * @param {string} name
 * @returns {Promise<boolean>} whether a connection stood in its way
 */
export function erase(name) {
  return new Promise((resolve, reject) => {
    let wasBlocked = false;
    const request = indexedDB.deleteDatabase(`durably:${name}`);
    request.onblocked = () => { wasBlocked = true; };
    request.onsuccess = () => resolve(wasBlocked);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Take a Web Lock from its holder, and let it go.
 * @param {string} name
 */
export function steal(name) {
  return navigator.locks.request(`durably:${name}`, { steal: true }, () => undefined);
}

/** @param {string} name */
export async function lockIsHeld(name) {
  const { held } = await navigator.locks.query();
  return held?.some((lock) => lock.name === `durably:${name}`) ?? false;
}

/** As when the page is left for the back-forward cache, and comes back from there. */
export function putAway() {
  pageEvent("pagehide");
  pageEvent("pageshow");
}

/** What a browser dispatches to the window of a page that is left, or shown. @param {string} type */
export function pageEvent(type) {
  globalThis.dispatchEvent(new Event(type));
}

/** What a browser dispatches to a document that it freezes, or thaws. @param {string} type */
export function lifecycle(type) {
  document.dispatchEvent(new Event(type));
}

/**
 * What the document says of itself, and the event that goes with it; "" for the truth.
 * @param {string} state
 */
export function show(state) {
  if (state) {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
  } else {
    Reflect.deleteProperty(document, "visibilityState");
  }
  document.dispatchEvent(new Event("visibilitychange"));
}

/** @param {string} type of an event of the page's life */
export function passEvent(type) {
  (type === "pageshow" ? globalThis : document).dispatchEvent(new Event(type));
}

/**
 * Send a message to this context, and return when its listeners were called.
 * @param {unknown} data
 */
export function say(data) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    /** @param {MessageEvent} event */
    const arrived = (event) => {
      if (event.ports[0] === undefined) return;
      removeEventListener("message", arrived);
      port1.close();
      resolve(undefined);
    };
    addEventListener("message", arrived);
    postMessage(data, "/", [port2]);
  });
}

/**
 * The messages of the next turn of the loop, so far as they were sent to this context itself.
 * @returns {Promise<unknown[]>}
 */
export function questions() {
  return new Promise((resolve) => {
    /** @type {unknown[]} */
    const heard = [];
    /** @param {MessageEvent} event */
    const hear = ({ data }) => {
      heard.push(data?.durably);
      if (data !== "end") return;
      removeEventListener("message", hear);
      resolve(heard.slice(0, -1));
    };
    addEventListener("message", hear);
    setTimeout(() => postMessage("end", "/"));
  });
}

/** @param {{ toString(): string }} proxy */
export function isAlive(proxy) {
  try {
    proxy.toString();
    return true;
  } catch {
    return false;
  }
}
